"""How raw outputs become weights of a usable size (GHN-2, Knyazev et al., 2021, arXiv:2110.13100, section 4.3)."""

from dataclasses import dataclass
from math import prod
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.hypernets.checks import within
from paramgen.hypernets.tiling import repeated


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class FanIn:
    """Weights times sqrt(2 / fan-in), or sqrt(1 / fan-in) in depthwise and 1xk convolutions."""

    spare_tables: bool  # leave what looks like a position table as it is, as the published code does

    def factor(self, kernel: Tensor, shape: tuple[int, ...], initializer_range: float | None) -> float:
        """Return what to multiply the kernel with that is repeated to a weight of the shape (out, in, ...)."""
        if self.spare_tables and len(shape) > 2 and shape[2] >= 11 and shape[0] == 1:
            return 1.0
        narrow = len(shape) > 2 and shape[1] == 1
        flat = len(shape) > 3 and shape[2] < shape[3]
        return float((1 if narrow or flat else 2) / prod(shape[1:])) ** 0.5


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class InitializerRange:
    """Weights of the standard deviation that the target names, else of `otherwise` (LoGAH's code for GPT-2)."""

    otherwise: float

    def __post_init__(self) -> None:
        within("normalization.otherwise", self.otherwise, 1e-6, 1e3)

    def factor(
        self, kernel: Float[Tensor, "out in kh kw"], shape: tuple[int, ...], initializer_range: float | None
    ) -> Tensor:
        """Return what to multiply the kernel with; the standard deviation is that of the weight it is repeated to."""
        wanted = self.otherwise if initializer_range is None else initializer_range
        return wanted / (repeated(kernel, *shape[:2]).std() + 1e-7)


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class AsDecoded:
    """Weights, scales and biases as they leave the decoder (GHN-1, Zhang et al., 2019, arXiv:1810.05749)."""

    def factor(self, kernel: Tensor, shape: tuple[int, ...], initializer_range: float | None) -> float:
        """Return what to multiply the kernel with."""
        return 1.0


def scale_of(raw: Tensor) -> Tensor:
    """Return the scale of a norm: 2 σ(x / 2), around 1."""
    return 2 * torch.sigmoid(raw / 2)


def bias_of(raw: Tensor) -> Tensor:
    """Return a bias: tanh(x / 5), around 0."""
    return torch.tanh(raw / 5)


def scaled(raw: Tensor, factor: float | Tensor) -> Tensor:
    """Return the product, in place where gradients are off."""
    return raw * factor if torch.is_grad_enabled() else raw.mul_(factor)
