"""Matrices of low rank (Liu et al., 2024, arXiv:2310.08513; Nait-Saada et al., 2024, arXiv:2310.16597).

Where the rank is low, features change more in training than at full rank. A product of two random matrices has the
signal propagation of a full one in wide networks.
"""

from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

import torch
from jaxtyping import Float64
from torch import Tensor

from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.modifiers import SlotModifier, Weights, modifiers
from paramgen.modifiers.masking.options import is_number

LOWRANK: Final = "lowrank"
MAX_MATRIX_RANK: Final = 1_000_000


@final
@modifiers.register(LOWRANK)
@dataclass(frozen=True, kw_only=True)
class RankLimit(SlotModifier):
    """Matrices of an exact rank, the nearest ones of the same norm, lowrank:0.1 or lowrank:8 (Liu et al., 2024).

    A convolution is a matrix of outputs by inputs times taps, of each group one. A matrix whose shorter side is not
    longer than the rank stays as it is.
    """

    structure: ClassVar[str] = "low rank"

    rank: float | int = 0.1  # from 1 on a number of dimensions, below a share of the shorter side
    norm: Literal["frobenius", "none"] = "frobenius"  # `none`: the nearest matrix itself, which is smaller
    draw: bool = False  # a product of two normal matrices of the same norm, instead of the nearest matrix

    def __post_init__(self) -> None:
        rank = self.rank
        if not is_number(rank) or not 0 < rank <= MAX_MATRIX_RANK or (rank >= 1 and rank != int(rank)):
            raise OptionError(
                f"rank is {one_line(repr(rank))}. Allowed: a whole number from 1, or a share of the shorter side "
                "between 0 and 1. Type: --then lowrank:0.1"
            )
        if self.norm not in ("frobenius", "none"):
            raise OptionError(f"norm is {one_line(repr(self.norm))}. Allowed: frobenius and none")
        if not isinstance(self.draw, bool):
            raise OptionError(
                f"draw is {one_line(repr(self.draw))}. Allowed: true and false. Type: --then 'lowrank?draw=true'"
            )
        if self.draw and self.norm == "none":
            raise OptionError("norm=none is for the nearest matrix; one that is drawn has the norm of what was there")

    def changes(self, linear_map: LinearMap) -> bool:
        """Whether the matrix has a higher rank."""
        side = _shorter_side(linear_map)
        return self.rank_of(side) < side

    def rank_of(self, side: int) -> int:
        """Return the rank of a matrix with this shorter side."""
        return int(self.rank) if self.rank >= 1 else max(1, round(self.rank * side))

    def change(self, linear_map: LinearMap, weights: Weights, generator: torch.Generator) -> Weights:
        """Return the matrices of low rank, computed in double precision."""
        rank = self.rank_of(_shorter_side(linear_map))
        matrices = weights.flatten(2).double()
        changed = torch.stack([self._matrix(matrix, rank, generator) for matrix in matrices])
        return changed.view(weights.shape).float()

    def hindrance(self) -> str:
        """Return that no matrix is large enough."""
        return f"no matrix has a higher rank than lowrank:{self.rank} leaves. Type a smaller one: --then lowrank:1"

    def _matrix(
        self, matrix: Float64[Tensor, "out in"], rank: int, generator: torch.Generator
    ) -> Float64[Tensor, "out in"]:
        if self.draw:
            left = torch.randn(matrix.shape[0], rank, generator=generator, dtype=torch.float64)
            right = torch.randn(rank, matrix.shape[1], generator=generator, dtype=torch.float64)
            found = left @ right
        else:
            found = _truncated(matrix, rank)
        norm = torch.linalg.vector_norm(found)
        if self.norm == "none" or not norm > 0:
            return found
        return found * (torch.linalg.vector_norm(matrix) / norm)


def _shorter_side(linear_map: LinearMap) -> int:
    return min(linear_map.out, linear_map.fan * linear_map.taps)


def _truncated(matrix: Float64[Tensor, "out in"], rank: int) -> Float64[Tensor, "out in"]:
    """Return the nearest matrix of this rank: projected on the first singular vectors of its shorter side."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    vectors = torch.linalg.eigh(wide @ wide.T).eigenvectors[:, -rank:]  # in ascending order
    nearest = vectors @ (vectors.T @ wide)
    return nearest if matrix.shape[0] <= matrix.shape[1] else nearest.T
