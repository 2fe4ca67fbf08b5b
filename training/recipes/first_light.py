"""The first hypernet we ship: a departure from the library's own start, CIFAR-10 at 16 and 32 pixels, one CPU core."""

from paramgen.hypernets.config import first_light
from training.config import Config, Objective, Optimization


def config() -> Config:
    """About 70 minutes on one core of a server CPU; cost and result: cards/results/first_light.json."""
    return Config(
        hypernet=first_light(),
        pool=240,
        objective=Objective(task=1.0, lookahead=1.0, departure=0.02, inner_steps=5, inner_rate=2e-3),
        optimization=Optimization(steps=6_000, rate=2e-3),
    )
