"""Tensors of a file, described but not made: their claims are checked when read, their bytes copied when needed."""

from dataclasses import dataclass
from typing import Final, TypeGuard, final

import numpy as np
import torch
from torch import Tensor

from paramgen.errors import ForeignError
from paramgen.published.cursor import shown

STORAGES: Final[dict[str, torch.dtype]] = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
"""The storage classes of torch that a file may name, and what they hold."""

MAX_STORAGE_ELEMENTS: Final = 1 << 40
_MAX_DIMENSIONS: Final = 8


@final
@dataclass(slots=True, eq=False)
class Storage:
    """A row of elements in a file; `data` is set once the offset of its bytes is known."""

    dtype: torch.dtype
    elements: int
    data: memoryview | None = None

    @property
    def nbytes(self) -> int:
        """How many bytes the elements take."""
        return self.elements * self.dtype.itemsize


@final
@dataclass(frozen=True, slots=True, eq=False)
class ForeignTensor:
    """A tensor of a file: which part of which storage it is."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """The type of its elements."""
        return self.storage.dtype

    @property
    def elements(self) -> int:
        """How many elements it has."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def span(self) -> int:
        """How many elements of the storage it reaches over, from its offset on."""
        if 0 in self.shape:
            return 0
        return 1 + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))

    def tensor(self) -> Tensor:
        """Return a tensor of its own with these elements.

        Raises:
            ForeignError: The file has no data for it.
        """
        data, width = self.storage.data, self.dtype.itemsize
        if data is None:
            raise ForeignError("The file has no data for one of its tensors. Get the file again.")
        start = self.offset * width
        copy = torch.empty(self.span * width, dtype=torch.uint8)
        copy.numpy()[:] = np.frombuffer(data[start : start + len(copy)], dtype=np.uint8)
        return torch.as_strided(copy.view(self.dtype), self.shape, self.stride)


def rebuilt(name: str, arguments: tuple[object, ...]) -> ForeignTensor:
    """Return what `torch._utils._rebuild_tensor_v2` would make of its arguments, or refuse them.

    Raises:
        ForeignError: The arguments are not those of a tensor.
    """
    if len(arguments) not in (6, 7):
        raise ForeignError(f"{name}: a tensor of {len(arguments)} arguments; 6 or 7 are allowed. Get the file again.")
    storage, offset, shape, stride = arguments[:4]
    if not isinstance(storage, Storage) or not isinstance(offset, int) or not _naturals((offset,)):
        raise ForeignError(f"{name}: a tensor without storage, or at the offset {shown(offset)}. Get the file again.")
    if not _naturals(shape) or not _naturals(stride) or len(shape) != len(stride):
        raise ForeignError(
            f"{name}: a tensor whose shape or strides are not up to {_MAX_DIMENSIONS} whole numbers from 0 on. "
            "Get the file again."
        )
    tensor = ForeignTensor(storage, offset, shape, stride)
    if tensor.elements > storage.elements or offset + tensor.span > storage.elements:
        raise ForeignError(
            f"{name}: a tensor of {tensor.elements:,} elements that ends at {tensor.offset + tensor.span:,} in a "
            f"storage of {storage.elements:,}. Get the file again."
        )
    return tensor


def _naturals(values: object) -> TypeGuard[tuple[int, ...]]:
    """Say whether these are a tuple of a few whole numbers that are not negative and not absurd."""
    if not isinstance(values, tuple) or len(values) > _MAX_DIMENSIONS:  # a long one costs as much as it is long
        return False
    return all(type(value) is int and 0 <= value <= MAX_STORAGE_ELEMENTS for value in values)
