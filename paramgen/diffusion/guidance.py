"""Classifier-free guidance (Ho & Salimans, 2022, arXiv:2207.12598), and its optimized scale.

The scale is that of CFG-Zero* (Fan et al., 2025, arXiv:2503.18886).
"""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

_EPSILON: Final = 1e-8


def guided(
    conditional: Float[Tensor, "batch blocks width"],
    unconditional: Float[Tensor, "batch blocks width"],
    *,
    scale: float,
    optimized: bool = False,
) -> Float[Tensor, "batch blocks width"]:
    """Return the conditional prediction, moved away from the unconditional one by `scale`.

    `optimized` first scales the unconditional prediction to be as near as possible to the conditional one.
    """
    if optimized:
        products = (conditional * unconditional).sum((1, 2), keepdim=True)
        unconditional = unconditional * products / (unconditional.square().sum((1, 2), keepdim=True) + _EPSILON)
    return torch.lerp(unconditional, conditional, scale)
