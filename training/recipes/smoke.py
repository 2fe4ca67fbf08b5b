"""A run of a few steps with a tiny hypernet: it shows that an installation and a folder of images work."""

from dataclasses import replace

from paramgen.hypernets.config import first_light
from paramgen.hypernets.decoders.low_rank import LowRankConfig
from training.config import Config, Objective, Optimization


def config() -> Config:
    """Some seconds; what it makes is of no use."""
    hypernet = first_light()
    return Config(
        hypernet=replace(
            hypernet,
            encoder=replace(hypernet.encoder, hidden=8, layers=1, heads=2),
            decoder=LowRankConfig(rank=4, width=256, max_out=128, max_in=128, scaled=True),
        ),
        objective=Objective(inner_steps=2, departure=0.1),
        optimization=Optimization(steps=12, networks=1, batch=8, rate=1e-2, warmup=2),
        pool=6,
        held_out=1,
        judge_every=6,
        save_every=0.0,
    )
