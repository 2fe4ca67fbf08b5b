"""The recipe `weights` by flow matching in place of denoising (Lipman et al., 2023, arXiv:2210.02747)."""

from dataclasses import replace

from training.recipes import weights
from training.weights.config import WeightsConfig


def config() -> WeightsConfig:
    """Return the run; its result: training/LOG.md."""
    return replace(weights.config(), prediction="flow")
