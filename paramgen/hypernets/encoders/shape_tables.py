"""The rows of the shape tables that represent a shape (GHN-2, Knyazev et al., 2021, arXiv:2110.13100)."""

from bisect import bisect_left
from collections.abc import Sequence
from math import isqrt

Kernel = tuple[int, int, int, int]


def channel_sizes(extra: Sequence[int]) -> tuple[int, ...]:
    """Return the channel numbers that have a row of their own: finer for small ones, and those in `extra`."""
    return tuple(sorted({1, 3, *range(8, 64, 8), *range(64, 4096, 16), *range(4096, 8193, 32), *extra}))


def spatial_sizes(largest: int) -> tuple[int, ...]:
    """Return the kernel sizes that have a row of their own."""
    return tuple(sorted({*range(1, max(12, largest), 2), 14, 16}))


def channel_row(size: int, sizes: Sequence[int]) -> int:
    """Return the row of a channel number: 4 to 7 count as 8, others as the nearest."""
    return nearest(8 if 4 <= size <= 7 else size, sizes)


def spatial_row(size: int, sizes: Sequence[int]) -> int:
    """Return the row of a kernel size: 2 counts as 3, others as the nearest."""
    return nearest(3 if size == 2 else size, sizes)


def nearest(size: int, sizes: Sequence[int]) -> int:
    """Return the index of the nearest of the sorted sizes, of two equally near ones the smaller."""
    above = bisect_left(sizes, size)
    if above == len(sizes):
        return above - 1
    return above - 1 if above > 0 and size - sizes[above - 1] <= sizes[above] - size else above


def shape_rows(
    shape: tuple[int, ...] | None, channels: Sequence[int], spatials: Sequence[int]
) -> tuple[int, int, int, int]:
    """Return the rows for (out, in, kh, kw); the row after the last one says that there is no shape."""
    if shape is None or len(shape) == 0:
        return len(channels), len(channels), len(spatials), len(spatials)
    out, inputs, kh, kw = as_kernel(shape)
    return (
        channel_row(out, channels),
        channel_row(inputs, channels),
        spatial_row(kh, spatials),
        spatial_row(kw, spatials),
    )


def as_kernel(shape: tuple[int, ...]) -> Kernel:
    """Return a shape as (out, in, kh, kw); a table of tokens counts as a square image, of more axes the last two."""
    if len(shape) == 3 and shape[0] == 1 and shape[1] > 1 and shape[2] > 1:
        side = isqrt(shape[1])
        return 1, shape[2], side, side
    if len(shape) > 4:
        return shape[0], shape[1], shape[-2], shape[-1]
    out, inputs, kh, kw = (*shape, 1, 1, 1)[:4]
    return out, inputs, kh, kw
