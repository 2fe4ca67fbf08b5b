"""A denoiser of minutes, for the zoo of drawn scenes: `make zoo-small`."""

from training.config import Optimization
from training.weights.config import Blocks, Denoiser, WeightsConfig


def config() -> WeightsConfig:
    """Return the run; it shows the whole way, and sixty tasks are too few to generalize from."""
    return WeightsConfig(
        optimization=Optimization(steps=600, batch=32, lr=1e-3, warmup=50, average=0.99),
        blocks=Blocks(components=48),
        denoiser=Denoiser(depth=2),
        evaluate_every=200,
    )
