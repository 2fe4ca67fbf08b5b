"""Weights times a factor: how small they are decides how neurons align at first (Min et al., 2024, arXiv:2307.12851).

From small weights a network learns features, its matrices rank by rank; from large ones it stays close to where it
began.
"""

from dataclasses import dataclass
from typing import Final, Literal, final

import torch

from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.modifiers import SHARED_NUMBERS, SlotModifier, Weights, modifiers
from paramgen.modifiers.masking.options import is_number

SCALE: Final = "scale"
MAX_FACTOR: Final = 1000


@final
@modifiers.register(SCALE)
@dataclass(frozen=True, kw_only=True)
class Scale(SlotModifier):
    """Weights times a factor, scale:0.1; biases and norms stay as they are."""

    factor: float | int = 0.1
    layers: Literal["all", "hidden", "output"] = "all"  # `hidden` are all but the output

    def __post_init__(self) -> None:
        if not is_number(self.factor) or not 0 < self.factor <= MAX_FACTOR:
            raise OptionError(
                f"factor is {one_line(repr(self.factor))}. Allowed: a number above 0, up to {MAX_FACTOR:,}. "
                "Type: --then scale:0.1"
            )
        if self.layers not in ("all", "hidden", "output"):
            raise OptionError(
                f"layers is {one_line(repr(self.layers))}. Allowed: all, hidden and output. "
                "Type: --then 'scale:0.1?layers=hidden'"
            )

    def changes(self, linear_map: LinearMap) -> bool:
        """Whether the weight is among the layers requested."""
        return self.layers == "all" or linear_map.output == (self.layers == "output")

    def change(self, linear_map: LinearMap, weights: Weights, generator: torch.Generator) -> Weights:
        """Return the product."""
        return weights * self.factor

    def undoes(self, structure: str) -> bool:
        """A factor undoes nothing but the sizes that shared numbers are multiplied by."""
        return structure == SHARED_NUMBERS

    def hindrance(self) -> str:
        """Return that there is no such layer."""
        where = "" if self.layers == "all" else f" among its {self.layers} layers"
        return f"it has no linear layer or convolution{where}"
