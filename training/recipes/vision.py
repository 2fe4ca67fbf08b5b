"""The vision supernet we ship: eight families at 32 pixels, CIFAR-10 and half of Tiny ImageNet's classes, one core."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from paramgen.graphs.analysis.address import Address
from paramgen.hypernets.supernet import SupernetConfig
from training.config import Config, DatasetConfig, Objective, Optimization, Stage

TENSORS: Final = Path(__file__).with_name("vision.json")  # made by `python -m training.sharing`
STEPS: Final = 50_000
TOKEN_STEPS: Final = 6
IMAGE_STEPS: Final = 3
DATASETS: Final = (DatasetConfig(name="cifar10", classes=10), DatasetConfig(name="tiny", classes=100, subset="even"))


def config() -> Config:
    """Return the run; cost and result: cards/vision.md."""
    tensors = json.loads(TENSORS.read_text(encoding="utf-8"))
    return run({Address.parse(name): tuple(shape) for name, shape in tensors.items()})


def run(tensors: Mapping[Address, tuple[int, ...]]) -> Config:
    """Return the run for a list of shared weights."""
    return Config(
        hypernet=SupernetConfig(tensors=tensors, token_steps=TOKEN_STEPS, image_steps=IMAGE_STEPS, spill=0.25),
        optimization=Optimization(steps=STEPS, lr=2e-3, warmup=300, weight_decay=0.05, clip=2.0, average=0.999),
        stages=(Stage(until=STEPS, objective=Objective(lookahead=0.0, inner_steps=0), networks=1, span="wide"),),
        datasets=DATASETS,
        # Twice those of which there are most kinds of blocks, and most users.
        families=(
            *("convnext", "efficientnet", "mixer", "mobilenet", "resnet"),
            *("resnet", "separable", "vgg", "vit", "vit"),
        ),
        resolutions=(32,),
        budget=1.6,
        pool=400,
        evaluated=7,  # not the last families: wide and deep VGGs cost more at 32 pixels than an evaluation may
        evaluate_every=4_000,
    )
