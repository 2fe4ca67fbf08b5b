"""Kernels, patches and tables of positions of another size."""

from functools import lru_cache
from math import isqrt, prod
from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

MAX_KERNEL: Final = 256
"""The largest side of a kernel that is resized."""

KernelChange = Literal["none", "pad", "resize", "patch"]


def kernel_change(
    had: tuple[int, ...], now: tuple[int, ...], *, strides: tuple[int, int], patches: bool
) -> KernelChange:
    """Return how a kernel of one size becomes one of another.

    Args:
        had: The donor's size.
        now: The new size.
        strides: The donor's stride and the new one.
        patches: Whether both cut an image into patches that do not overlap.

    """
    if had == now:
        return "none"
    if patches:
        return "patch"
    larger = all(large >= small and not (large - small) % 2 for small, large in zip(had, now, strict=True))
    return "pad" if larger and strides[0] == strides[1] else "resize"


def resized_kernel(kernel: Float[Tensor, "out in *had"], now: tuple[int, ...], change: KernelChange) -> Tensor:
    """Return a kernel of another size.

    - `pad`: zeros around it, so that it computes the same.
    - `resize`: linear interpolation; it answers the same where the image is flat.
    - `patch`: what answers patches scaled to the new size as the kernel answered them before, as far as that is
      possible (Beyer et al., 2023, arXiv:2212.08013, equation 4).
    """
    had = kernel.shape[2:]
    if change == "none":
        return kernel
    if change == "pad":
        sides = [(large - small) // 2 for small, large in zip(had, now, strict=True)]
        return functional.pad(kernel, [side for side in reversed(sides) for _ in range(2)])
    values = kernel.float()
    for axis, (before, after) in enumerate(zip(had, now, strict=True), 2):
        values = torch.tensordot(values, _matrix(before, after, patch=change == "patch"), dims=([axis], [0]))
        values = values.movedim(-1, axis)
    return values.contiguous()


@lru_cache(maxsize=32)
def _matrix(had: int, now: int, *, patch: bool) -> Float[Tensor, "had now"]:
    """Return the matrix by which a row of a kernel is multiplied."""
    scaling = functional.interpolate(
        torch.eye(had, dtype=torch.float64)[None, None],
        size=(had, now),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )[0, 0]
    # The scaling of a patch is the transposed matrix, whose inverse from the other side the kernel needs.
    return (torch.linalg.pinv(scaling).t() if patch else scaling * (had / now)).float()


def grid_of(tokens: int) -> tuple[int, int] | None:
    """Return the side of the square of positions in a table, and the rows before it; None where there is no square."""
    side = isqrt(tokens)
    for first in (0, 1, 2, 4, 5, 8):
        side = isqrt(max(tokens - first, 0))
        if side > 1 and side * side == tokens - first:
            return side, first
    return None


def resized_grid(table: Float[Tensor, "rows width"], side: int) -> Float[Tensor, "_ width"]:
    """Return a square table of positions at another resolution, by bicubic interpolation."""
    had = isqrt(table.shape[0])
    if had == side:
        return table
    image = table.float().t().reshape(1, -1, had, had)
    scaled = functional.interpolate(image, size=(side, side), mode="bicubic", align_corners=False, antialias=True)
    return scaled[0].reshape(table.shape[1], side * side).t().contiguous()


def allowed_kernel(size: tuple[int, ...]) -> bool:
    """Whether a kernel of this size is resized."""
    return prod(size) > 0 and max(size, default=1) <= MAX_KERNEL
