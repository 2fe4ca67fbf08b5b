"""`python -m benchmarks.speed.startup`: CPU seconds of commands until they answer, and of whole predictions.

Every command runs in a process of its own, in turn with a process that imports torch and transformers and saves random
tensors of the shapes of vit_b16: the ratio of the two says what a command costs, whatever else the machine does. CPU
seconds of user and system together count, of all rounds the least. Rounds, commit, hardware and versions go to
`cards/results/startup.json`.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from benchmarks.provenance import provenance
from benchmarks.speed.predict import Ran, run

RESULTS: Final = Path(__file__).parents[2] / "cards" / "results" / "startup.json"
ARCH: Final = "vit_b16"
REFERENCE: Final = "import torch, transformers; save"
_SAVE: Final = """
import json, struct, sys
import torch, transformers
from safetensors.torch import save_file

with open(sys.argv[1], "rb") as file:
    (length,) = struct.unpack("<Q", file.read(8))
    shapes = {name: each["shape"] for name, each in json.loads(file.read(length)).items() if name != "__metadata__"}
save_file({name: torch.randn(shape) for name, shape in shapes.items()}, sys.argv[2])
"""
AT_ONCE: Final = (
    "--help",
    "predict --help",
    "list architectures",
    "list architectures timm",
    "list architectures torchvision",
    "list architectures transformers",
    "list architectures diffusers",
    "list initializers",
    "list hypernets",
    "list modifiers",
    "list sources",
)
REFUSED: Final = (
    "predict --arch vit_b17",
    "predict --arch timm:resnet1",
    f"predict --arch {ARCH} --init hee",
    f"predict --arch {ARCH} --then scal",
    f"predict --arch {ARCH} --dtype float33",
    f"predict --arch {ARCH} --sed 1",
)
IMPORTS: Final = ("torch", "torch, transformers", "torch, timm", "torch, transformers.models.vit.modeling_vit")


def main(
    repeat: Annotated[int, typer.Option(help="Rounds, of which the least counts.")] = 3,
    result: Annotated[Path, typer.Option(help="Where the figures go.")] = RESULTS,
) -> None:
    """Measure every command, print the table and write the figures."""
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared(folder)
        for number in range(repeat):
            rounds.append({what: round(ran.cpu, 3) for what, ran in measured(folder / str(number), folder).items()})
    least = {what: min(each[what] for each in rounds) for what in rounds[0]}
    ratios = {what: round(seconds / least[REFERENCE], 3) for what, seconds in least.items()}
    for what, seconds in least.items():
        print(f"{seconds:7.2f} s {ratios[what]:6.2f} x  {what}")
    found = {**provenance(), "rounds": repeat, "cpu_seconds": least, "ratios": ratios, "every_round": rounds}
    result.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def prepared(folder: Path) -> None:
    """Write what the measured commands read: a prediction, whose shapes are saved, a graph, and graphs in a cache."""
    command("predict", "--arch", ARCH, "--init", "he", "--out", str(folder / "shapes"), cache=folder)
    command("graph", "--arch", ARCH, "--out", str(folder / "g.json"), cache=folder)


def measured(out: Path, folder: Path) -> dict[str, Ran]:
    """Run everything once, the reference first."""
    out.mkdir()
    saved = [sys.executable, "-c", _SAVE, str(folder / "shapes" / "model.safetensors"), str(out / "saved")]
    found = {REFERENCE: run(saved)}
    found |= {f"import {modules}": run([sys.executable, "-c", f"import {modules}"]) for modules in IMPORTS}
    found |= {f"paramgen {words}": command(*words.split()) for words in AT_ONCE}
    found |= {f"paramgen {words}": command(*words.split(), status=2) for words in REFUSED}
    graph = str(folder / "g.json")
    predictions: Mapping[str, tuple[Any, ...]] = {
        f"{ARCH}": ("--arch", ARCH),
        f"{ARCH}, graph cached": ("--arch", ARCH, folder),
        f"{ARCH} --init he --no-check, graph cached": ("--arch", ARCH, "--init", "he", "--no-check", folder),
        f"{ARCH} --dry-run, graph cached": ("--arch", ARCH, "--dry-run", folder),
        "g.json": ("--arch", graph),
        "g.json --init he --no-check": ("--arch", graph, "--init", "he", "--no-check"),
    }
    for number, (what, given) in enumerate(predictions.items()):
        words, cache = [each for each in given if isinstance(each, str)], folder if folder in given else None
        found[f"paramgen predict --arch {what}"] = command(
            "predict", *words, "--out", str(out / str(number)), "--quiet", cache=cache
        )
    return found


def command(*words: str, status: int = 0, cache: Path | None = None) -> Ran:
    """Run paramgen, with a cache of graphs in a folder or with none."""
    environment = {} if cache is None else {"PARAMGEN_GRAPH_CACHE": str(cache / "graphs")}
    return run([sys.executable, "-m", "paramgen", *words], status=status, environment=environment)


if __name__ == "__main__":
    typer.run(main)
