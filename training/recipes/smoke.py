"""A run of a few steps with a tiny hypernet: it shows that an installation and a folder of images work."""

from dataclasses import replace
from typing import cast

from paramgen.hypernets.config import first_light
from paramgen.hypernets.decoders.low_rank import LowRankConfig
from paramgen.hypernets.encoders.graphormer import GraphormerConfig
from training.config import Config, Objective, Optimization, Stage


def config() -> Config:
    """Some seconds; what it makes is of no use."""
    hypernet = first_light()
    return Config(
        hypernet=replace(
            hypernet,
            encoder=replace(cast(GraphormerConfig, hypernet.encoder), hidden=8, layers=1, heads=2),
            decoder=LowRankConfig(rank=4, width=256, max_out=128, max_in=128, scaled=True),
        ),
        optimization=Optimization(steps=12, batch=8, lr=1e-2, warmup=2),
        stages=(
            Stage(until=6, objective=Objective(inner_steps=2, residual=0.1), networks=1),
            Stage(until=12, objective=Objective(inner_steps=1), networks=2, span="wide", renewed=1),
        ),
        families=("mlp", "resnet", "vit"),
        pool=6,
        evaluated=1,
        evaluate_every=6,
        save_every=0.0,
    )
