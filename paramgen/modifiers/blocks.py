"""Sparse matrices of permuted diagonal blocks (Nait-Saada et al., 2024, arXiv:2310.16597), of unchanged variance.

In wide networks such layers pass signals on as full ones do, with fewer connections.
"""

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, Final, final

import torch
from jaxtyping import Int64
from torch import Tensor

from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.modifiers import SlotModifier, Weights, modifiers
from paramgen.modifiers.masking.options import is_number

BLOCKS: Final = "blocks"
LEAST_DENSITY: Final = 0.001


@final
@modifiers.register(BLOCKS)
@dataclass(frozen=True, kw_only=True)
class Blocks(SlotModifier):
    """Only permuted diagonal blocks stay, blocks:0.25, as many as 1 over the density (Nait-Saada et al., 2024).

    Rows and columns are spread over the blocks at random, and what stays is divided by the root of the density. Of a
    convolution, channels are spread, and a kernel stays whole. A matrix with fewer rows or columns than blocks stays as
    it is.
    """

    structure: ClassVar[str] = "blocks"

    density: float | int = 0.25  # of the entries that are not zero: 1/2, 1/3, 1/4, ...

    def __post_init__(self) -> None:
        density = self.density
        if not is_number(density) or not LEAST_DENSITY <= density <= 0.5 or abs(density * self.count - 1) > 0.01:
            raise OptionError(
                f"density is {one_line(repr(density))}. Allowed: 1 over a whole number, from {LEAST_DENSITY:g} to 0.5. "
                "Type: --then blocks:0.25"
            )

    @property
    def count(self) -> int:
        """The number of blocks."""
        return round(1 / self.density)

    def changes(self, linear_map: LinearMap) -> bool:
        """Whether each block would have a row and a column."""
        return min(linear_map.out, linear_map.fan) >= self.count

    def change(self, linear_map: LinearMap, weights: Weights, generator: torch.Generator) -> Weights:
        """Return the weights within blocks, zeros elsewhere."""
        matrices = []
        for matrix in weights:
            rows, columns = (_spread(size, self.count, generator) for size in matrix.shape[:2])
            within = rows[:, None] == columns
            factor = sqrt(within.numel() / int(within.sum()))
            matrices.append(matrix * (within * factor).view(*within.shape, *(1,) * (matrix.dim() - 2)))
        return torch.stack(matrices)

    def undoes(self, structure: str) -> bool:
        """Zeros at other places undo every structure, other blocks too."""
        return True

    def hindrance(self) -> str:
        """Return that no matrix is large enough."""
        return (
            f"none of its matrices has {self.count:,} rows and columns for as many blocks. "
            "Type a larger density: --then blocks:0.5"
        )


def _spread(size: int, blocks: int, generator: torch.Generator) -> Int64[Tensor, " size"]:
    """Return the block of each row: all blocks are equally large, but for one row."""
    return (torch.arange(size) * blocks // size)[torch.randperm(size, generator=generator)]
