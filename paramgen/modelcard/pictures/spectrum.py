"""The singular values of a matrix, as a curve over their rank.

Small ones are decomposed. Of large ones the spectral density is taken from a few steps of Lanczos' recurrence
(stochastic Lanczos quadrature, Ubaru, Chen & Saad, 2017, SIAM J. Matrix Anal. Appl. 38(4)): so many products with the
matrix, whatever its size, and exact where few distinct values are.
"""

from typing import Final

import torch
from torch import Tensor

from paramgen.slots.init_program import one_thread

RANKS: Final = 101
SMALL_SIDE: Final = 512  # the shorter side of a matrix whose square is decomposed
MAX_LANCZOS: Final = 40
PROBES: Final = 3


@one_thread()
def spectrum(matrix: Tensor) -> Tensor | None:
    """Return the singular values at `RANKS` even ranks, the largest first, over their root mean square; None if all 0.

    Shape: (rows, columns) → (RANKS,)
    """
    matrix = matrix.float() if matrix.shape[0] <= matrix.shape[1] else matrix.float().T
    # Summed in float64: the last digits of a sum in float32 depend on where the matrix lies in memory.
    scale = float(torch.linalg.vector_norm(matrix, dtype=torch.float64)) / len(matrix) ** 0.5
    if not scale or not torch.isfinite(torch.tensor(scale)):
        return None
    if len(matrix) <= SMALL_SIDE:
        wide = matrix.double()
        values = torch.linalg.eigvalsh(wide @ wide.T).clamp(min=0).sqrt()
        return _over_ranks(values, torch.full_like(values, 1 / len(values))) / scale
    generator = torch.Generator().manual_seed(0)
    return torch.stack([_quadrature(matrix, generator) for _ in range(PROBES)]).mean(0) / scale


def _quadrature(matrix: Tensor, generator: torch.Generator) -> Tensor:
    """Return the singular values at even ranks as one random vector sees them."""
    probe = torch.randn(len(matrix), generator=generator, dtype=torch.float64)
    nodes, vectors = torch.linalg.eigh(_lanczos(matrix, probe / probe.norm()))
    return _over_ranks(nodes.clamp(min=0).sqrt(), vectors[0] ** 2)


def _lanczos(matrix: Tensor, start: Tensor) -> Tensor:
    """Return the tridiagonal matrix of up to `MAX_LANCZOS` steps with the square of `matrix`, made orthogonal."""
    basis, diagonal, beside = [start], [], []
    for _ in range(MAX_LANCZOS):
        image = (matrix @ (matrix.T @ basis[-1].float())).double()
        diagonal.append(float(image @ basis[-1]))
        known = torch.stack(basis)
        for _ in range(2):  # once is not enough in floating point
            image -= known.T @ (known @ image)
        length = float(image.norm())
        if length <= 1e-5 * abs(diagonal[0]):  # nothing new: the spectrum has no more values than steps
            break
        beside.append(length)
        basis.append(image / length)
    rest = torch.tensor(beside[: len(diagonal) - 1], dtype=torch.float64)
    return torch.diag(torch.tensor(diagonal, dtype=torch.float64)) + torch.diag(rest, 1) + torch.diag(rest, -1)


def _over_ranks(values: Tensor, shares: Tensor) -> Tensor:
    """Return ascending values, of which each is a share of all, at even ranks from the largest."""
    if len(values) == 1:
        return values.expand(RANKS)
    places = shares.cumsum(0) - shares / 2  # of the middle of each value among all
    wanted = torch.linspace(1, 0, RANKS, dtype=torch.float64)
    after = torch.searchsorted(places, wanted).clamp(1, len(places) - 1)
    low, high = places[after - 1], places[after]
    part = ((wanted - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    return values[after - 1] + part * (values[after] - values[after - 1])
