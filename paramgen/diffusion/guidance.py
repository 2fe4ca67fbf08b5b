"""Guidance without a classifier (Ho & Salimans, 2022, arXiv:2207.12598), and its optimized scale.

The scale is that of CFG-Zero* (Fan et al., 2025, arXiv:2503.18886).
"""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

_NOTHING: Final = 1e-8


def guided(
    worded: Float[Tensor, "batch blocks width"],
    wordless: Float[Tensor, "batch blocks width"],
    *,
    scale: float,
    optimized: bool = False,
) -> Float[Tensor, "batch blocks width"]:
    """Return the prediction with words, moved away from the one without.

    `optimized` first multiplies the one without by what brings it nearest to the one with.
    """
    if optimized:
        products = (worded * wordless).sum((1, 2), keepdim=True)
        wordless = wordless * products / (wordless.square().sum((1, 2), keepdim=True) + _NOTHING)
    return torch.lerp(wordless, worded, scale)
