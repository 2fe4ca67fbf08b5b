"""Procedural warm-up of a small GPT-2, which then learns the bytes of a text."""

import os
import tempfile
from pathlib import Path
from typing import Any, Final

import paramgen

SIZES: Final = {"n_layer": 2, "n_embd": 128, "n_head": 4, "n_positions": 64, "vocab_size": 256}
WARMUP_STEPS: Final = 300
STEPS: Final = 150
PROTOCOL: Final[dict[str, Any]] = {"steps": STEPS, "lr": (1e-3, 3e-3), "widen": 1, "batch": 32, "seeds": 3}


def warmup() -> dict[str, Any]:
    """Compare warmed-up weights with the default ones, and with weights of their norms and nothing else.

    The text is a file that the variable TEXT names. Perplexity and loss are those of bytes, on text never trained on.
    """
    text = os.environ.get("TEXT")
    if text is None:
        raise SystemExit("Type: TEXT=/path/of/book.txt python -m benchmarks.preparation warmup")
    with tempfile.TemporaryDirectory() as folder:
        warm = str(Path(folder) / "warm")
        made = paramgen.prepare("gpt2", warm, how="warmup", steps=WARMUP_STEPS, batch=32, overrides=SIZES)
        inits = ["library", f"prepared:{warm}", f"matched:prepared:{warm}"]
        (found,) = paramgen.compare("gpt2", text, init=inits, overrides=SIZES, **PROTOCOL).to_json()["architectures"]
    results = {each["init"].replace(f":{warm}", ""): each for each in found["initializations"]}
    return {
        "loss": {name: _spread(each["final"]) for name, each in results.items()},
        "learning rate": {name: each["lr"] for name, each in results.items()},
        "warmup loss": [round(made.losses[0], 3), round(made.losses[-1], 3)],
        "warmup steps": WARMUP_STEPS,
        "warmup seconds": made.seconds,
        "steps": STEPS,
        "text": Path(text).name,
    }


def _spread(given: Any) -> dict[str, Any]:
    return {key: round(given[key], 4) for key in ("mean", "std")} | {"values": [round(v, 4) for v in given["values"]]}
