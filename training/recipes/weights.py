"""Weights from prompts: a denoiser of the principal components of a zoo's checkpoints."""

from training.config import Optimization
from training.weights.config import WeightsConfig


def config() -> WeightsConfig:
    """Return the run; cost and result: training/README.md."""
    return WeightsConfig(optimization=Optimization(steps=900, batch=64, lr=1e-3, weight_decay=0.05, average=0.99))
