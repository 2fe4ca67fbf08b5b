"""The first hypernet we ship: a residual on the default initialization, CIFAR-10 at 16 and 32 pixels, one CPU core."""

from paramgen.hypernets.config import first_light
from training.config import Config, DatasetConfig, Objective, Optimization, Stage

SWITCH = 3_200  # by then the first designs are learned, and unseen ones are not: see LOG.md, 2026-11-23


def config() -> Config:
    """72 minutes on a shared core took it to step 4,386, which ships; result: cards/results/first_light.json."""
    return Config(
        hypernet=first_light(),
        datasets=(DatasetConfig(name="cifar10", classes=10),),
        families=("convnext", "mixer", "mobilenet", "resnet", "vgg", "vit"),
        optimization=Optimization(steps=6_000, lr=2e-3),
        stages=(
            Stage(until=SWITCH, objective=Objective(residual=0.02, inner_steps=5, inner_lr=2e-3)),
            Stage(
                until=6_000,
                objective=Objective(residual=0.02, inner_steps=3, inner_lr=2e-3),
                networks=4,
                span="wide",
                renewed=1,
            ),
        ),
    )
