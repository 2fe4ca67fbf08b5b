"""The text supernet we ship: GPT-2s and Llamas that read bytes or subwords of English text, one core."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from paramgen.graphs.analysis.address import Address
from paramgen.hypernets.supernet import SupernetConfig
from training.config import Config, DatasetConfig, Objective, Optimization, Stage

TENSORS: Final = Path(__file__).with_name("text.json")  # made by `python -m training.sharing text`
STEPS: Final = 30_000
TOKEN_STEPS: Final = 6
DATASETS: Final = (DatasetConfig(name="bytes", classes=256, share=2.0), DatasetConfig(name="subwords", classes=1024))


def config() -> Config:
    """Return the run; cost and result: cards/text.md."""
    tensors = json.loads(TENSORS.read_text(encoding="utf-8"))
    return run({Address.parse(name): tuple(shape) for name, shape in tensors.items()})


def run(tensors: Mapping[Address, tuple[int, ...]]) -> Config:
    """Return the run for a list of shared weights."""
    return Config(
        hypernet=SupernetConfig(tensors=tensors, token_steps=TOKEN_STEPS, image_steps=1, spill=0.25),
        optimization=Optimization(steps=STEPS, batch=8, lr=2e-3, warmup=300, weight_decay=0.05, clip=1.0),
        stages=(
            Stage(
                until=STEPS,
                objective=Objective(lookahead=0.0, inner_steps=0, label_smoothing=0.0),
                networks=1,
                span="wide",
            ),
        ),
        datasets=DATASETS,
        families=("gpt2", "llama"),
        resolutions=(64, 128),
        pool=200,
        evaluated=4,
        evaluate_every=5_000,
    )
