"""Which slots are decoded together: requests grouped by the size that the decoder makes for them (GHN-3's batching)."""

from collections.abc import Sequence
from math import isqrt
from typing import Final, NamedTuple

from paramgen.errors import HypernetError
from paramgen.graphs.analysis.slot_roles import Role
from paramgen.graphs.views.view import SlotRequest

VECTOR_ROLES: Final[frozenset[Role]] = frozenset(("scale", "bias", "class_bias"))
"""Roles of 1-D slots; all others are weights."""


class Key(NamedTuple):
    """What the slots of one decoded batch have in common; a vector's length is `out`."""

    vector: bool
    classes: bool  # the last layer, where the decoder treats it apart
    out: int
    inputs: int
    kh: int
    kw: int

    @property
    def elements(self) -> int:
        """Elements that are decoded for one slot."""
        return self.out * self.inputs * self.kh * self.kw * (2 if self.vector else 1)


def grouped(requests: Sequence[SlotRequest], limits: tuple[int, int]) -> dict[Key, list[SlotRequest]]:
    """Return the requests by key, in order of first appearance; `limits` are the decoder's largest (out, in)."""
    groups: dict[Key, list[SlotRequest]] = {}
    for request in requests:
        groups.setdefault(key_of(request, limits), []).append(request)
    return groups


def key_of(request: SlotRequest, limits: tuple[int, int]) -> Key:
    """Return the key of one request.

    Weights are decoded at the size they are used in; the published code decodes some larger and crops, to the same
    end. Vectors keep the published sizes, because a low-rank decoder's second row starts where the first one ends.

    Raises:
        HypernetError: The slot's shape is none of its role.
    """
    classes = request.role in ("class_weight", "class_bias")
    if request.role in VECTOR_ROLES:
        if len(request.shape) != 1:
            raise HypernetError(f"{request.slot!r} of shape {request.shape} as {request.role!r}, which is 1-D.")
        return Key(True, classes, rounded(request.shape[0], limits[0]), 1, 1, 1)
    out, inputs, kh, kw = kernel_shape(request)
    if request.role == "position":
        return Key(False, False, out, inputs, kh, kw)
    return Key(False, classes, min(out, limits[0]), min(inputs, limits[1]), kh, kw)


def kernel_shape(request: SlotRequest) -> tuple[int, int, int, int]:
    """Return the shape (out, in, kh, kw) in which a weight is predicted.

    Linear layers are 1x1 kernels, 1-D convolutions one row high; a position table of T tokens is a square image.

    Raises:
        HypernetError: The slot's shape is none that is predicted.
    """
    shape = request.shape[::-1] if request.in_out else request.shape
    if request.role == "position" and len(shape) == 3 and shape[0] == 1:
        side = isqrt(shape[1])
        return 1, shape[2], side, side
    if request.role != "position" and len(shape) == 2:
        return shape[0], shape[1], 1, 1
    if request.role != "position" and len(shape) == 3 and not request.in_out:
        return shape[0], shape[1], 1, shape[2]
    if request.role != "position" and len(shape) == 4 and not request.in_out:
        return shape[0], shape[1], shape[2], shape[3]
    raise HypernetError(
        f"{request.slot!r} of shape {request.shape} as {request.role!r}; weights have 2 to 4 dimensions (2 where rows "
        "are inputs), position tables are (1, tokens, width)."
    )


def rounded(size: int, limit: int) -> int:
    """Return a size that more slots share: at most `limit`, thirds made quarters, the upper half made `limit`."""
    size = min(size, limit)
    if size % 3 == 0:
        size = size * 4 // 3
    return limit if 2 * size >= limit else size
