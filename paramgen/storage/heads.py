"""Which tensors the safetensors files of a folder list, which may be anybody's, read off their heads without torch."""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, TypeGuard, final

from safetensors import SafetensorError, safe_open

from paramgen.errors import CheckError, one_line
from paramgen.storage.regular import refuse_irregular

DTYPE_NAMES: Final = tuple(
    "F64 F32 F16 BF16 F8_E5M2 F8_E4M3 F8_E5M2FNUZ F8_E4M3FNUZ F8_E8M0 C64 I64 I32 I16 I8 U64 U32 U16 U8 BOOL".split()
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One tensor as the head of its file lists it; `dtype` is one of `DTYPE_NAMES`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)


def listed_in(file: Path) -> list[Listed]:
    """Return what the head of a file lists, by offset, once safetensors' own reader has accepted it."""
    refuse_irregular(file, CheckError)
    try:
        with safe_open(file, framework="np"):
            pass
        with file.open("rb") as source:
            length = int.from_bytes(source.read(8), "little")
            header: dict[str, Any] = json.loads(source.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is no JSON object")
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise CheckError(f"{file} is not a whole safetensors file: {error}. Get it again.") from error
    header.pop("__metadata__", None)  # texts, which may be called like a tensor's fields
    entries = [_entry(file, str(name), entry, 8 + length) for name, entry in header.items()]
    return sorted(entries, key=lambda entry: entry.offset)


def _entry(file: Path, name: str, entry: Any, begin: int) -> Listed:
    """Return one tensor of a header; what safetensors' own reader lets through is compared again."""
    given = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = given.get("dtype"), given.get("shape"), given.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in DTYPE_NAMES:
        raise CheckError(f"Tensor {name!r} in {file} is {one_line(dtype)}; known are {', '.join(DTYPE_NAMES)}.")
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        raise CheckError(f"Tensor {name!r} in {file} has no shape, or no place in the file. Get it again.")
    return Listed(name=name, dtype=dtype, shape=tuple(shape), offset=begin + offsets[0])


def _naturals(given: object) -> TypeGuard[list[int]]:
    return isinstance(given, list) and all(type(size) is int and size >= 0 for size in given)
