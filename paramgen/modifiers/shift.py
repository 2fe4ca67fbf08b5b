"""Powers of two of few bits, without a zero, as shift networks have (DenseShift, Li et al., 2022, arXiv:2208.09708)."""

from dataclasses import dataclass
from math import floor, log2
from typing import ClassVar, Final, final

import torch

from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.modifiers import SlotModifier, Weights, modifiers

SHIFT: Final = "shift"
MAX_BITS: Final = 4


@final
@modifiers.register(SHIFT)
@dataclass(frozen=True, kw_only=True)
class Shift(SlotModifier):
    """Each weight becomes the nearest power of two with a sign, shift:3, one of 2^bits in a tensor (Li et al., 2022).

    The largest power is chosen for each tensor, by least squares; the others follow below it without a gap, and there
    is no zero. Training is ordinary training: weights are projected once and move freely after that.
    """

    structure: ClassVar[str] = "few values"

    bits: int = 3

    def __post_init__(self) -> None:
        if type(self.bits) is not int or not 1 <= self.bits <= MAX_BITS:
            raise OptionError(
                f"bits is {one_line(repr(self.bits))}. Allowed: a whole number from 1 to {MAX_BITS}. "
                "Type: --then shift:3"
            )

    def changes(self, linear_map: LinearMap) -> bool:
        """Whether it is a weight: always."""
        return True

    def change(self, linear_map: LinearMap, weights: Weights, generator: torch.Generator) -> Weights:
        """Return the nearest powers, of the largest one that leaves the smallest squared error."""
        top = floor(log2(float(weights.abs().max())))
        tried = [_projected(weights, top - lower, self.bits) for lower in range(4)]
        errors = [float((each - weights).double().square().sum()) for each in tried]
        return tried[errors.index(min(errors))]


def _projected(weights: Weights, top: int, bits: int) -> Weights:
    """Return the nearest of the values +-2^top, +-2^(top - 1), ... of which there are 2^bits; of zero, the smallest."""
    powers = [2.0 ** (top - lower) for lower in reversed(range(2 ** (bits - 1)))]
    middles = torch.tensor([(low + high) / 2 for low, high in zip(powers, powers[1:], strict=False)])
    nearest = torch.tensor(powers)[torch.bucketize(weights.abs(), middles)]
    return torch.where(weights < 0, -nearest, nearest)
