"""From the size a decoder makes to the size a slot has: crop, then repeat (GHN-2, Knyazev et al., 2021)."""

from math import isqrt

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def fit_vector(raw: Float[Tensor, " width"], size: int) -> Float[Tensor, " _"]:
    """Return the first `size` elements, starting over where `raw` ends."""
    return _repeat(raw, 0, size)


def cropped(raw: Float[Tensor, "out in kh kw"], shape: tuple[int, int, int, int]) -> Float[Tensor, "_ _ _ _"]:
    """Return what `repeated` needs to make the given shape: the centre of the kernels, at most as many channels.

    Kernels that are too small are resized; the published code does so only where both sides are.
    """
    out, inputs, kh, kw = shape
    raw = raw[:out, :inputs]
    if raw.shape[2] < kh or raw.shape[3] < kw:
        raw = functional.interpolate(raw, size=(kh, kw), mode="bilinear", align_corners=False)
    return _centre(_centre(raw, 2, kh), 3, kw).contiguous()


def repeated(kernel: Float[Tensor, "out in kh kw"], out: int, inputs: int) -> Float[Tensor, "_ _ kh kw"]:
    """Return the kernel with so many channels, starting over where it ends."""
    return _repeat(_repeat(kernel, 1, inputs), 0, out)  # inputs first: whole rows are then written once


def fit_table(raw: Float[Tensor, "1 in kh kw"], default: Float[Tensor, "1 _ _"]) -> Float[Tensor, "1 _ _"]:
    """Return a position table: the pixels of `raw` as the last tokens, the first ones (class tokens) from `default`."""
    _, tokens, width = default.shape
    side = isqrt(tokens)
    kernel = repeated(cropped(raw, (1, width, side, side)), 1, width)
    pixels = kernel.flatten(2).transpose(1, 2)  # (1, side², in_)
    return torch.cat((default[:, : tokens - side**2], pixels), dim=1)


def pixels(shape: tuple[int, ...]) -> int:
    """Return how many elements of a position table of this shape `fit_table` takes from `raw`."""
    return isqrt(shape[1]) ** 2 * shape[2]


def _centre(raw: Tensor, axis: int, size: int) -> Tensor:
    side = raw.shape[axis]
    return raw if side == size else raw.narrow(axis, side // 2 - size // 2, size)


def _repeat(raw: Tensor, axis: int, size: int) -> Tensor:
    if raw.shape[axis] >= size:
        return raw.narrow(axis, 0, size)
    repeats = [1] * raw.dim()
    repeats[axis] = -(-size // raw.shape[axis])
    return raw.repeat(repeats).narrow(axis, 0, size)
