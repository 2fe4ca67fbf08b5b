"""The recipe `weights` with velocity instead of sample prediction (Salimans & Ho, 2022, arXiv:2202.00512)."""

from dataclasses import replace

from training.recipes import weights
from training.weights.config import WeightsConfig


def config() -> WeightsConfig:
    """Return the run; its result: training/LOG.md."""
    return replace(weights.config(), prediction="v_prediction")
