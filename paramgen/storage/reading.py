"""Read the safetensors files of a folder, which may be anybody's, piece by piece.

Nothing is mapped into memory: a mapped file counts as the process's own once it has been read, and that would be as
much memory as the network itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor

from paramgen.errors import CheckError
from paramgen.storage.heads import DTYPE_NAMES, listed_in
from paramgen.storage.json_file import read_json_object

PIECE_BYTES: Final = 1 << 22  # bytes read at a time
SAMPLE_RUNS: Final = 16  # of neighbouring values in a sample
MAX_INDEX: Final = 100_000_000
_SINGLE: Final = ("model.safetensors", "diffusion_pytorch_model.safetensors")
_TORCH_DTYPES: Final = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e5m2,
    torch.float8_e4m3fn,
    torch.float8_e5m2fnuz,
    torch.float8_e4m3fnuz,
    torch.float8_e8m0fnu,
    torch.complex64,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint64,
    torch.uint32,
    torch.uint16,
    torch.uint8,
    torch.bool,
)
_DTYPES: Final = dict(zip(DTYPE_NAMES, _TORCH_DTYPES, strict=True))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One tensor of a file: what it is and where its bytes are."""

    name: str
    file: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    def pieces(self) -> Iterator[Tensor]:
        """Yield the values in row-major order, flat; each piece is valid until the next one is read."""
        left = self.elements * self.dtype.itemsize
        buffer = bytearray(min(left, PIECE_BYTES))
        with self.file.open("rb", buffering=0) as source:
            source.seek(self.offset)
            while left:
                view = memoryview(buffer)[: min(left, PIECE_BYTES)]
                _read(source, view, self.file)
                yield torch.frombuffer(view, dtype=self.dtype)
                left -= len(view)

    def sampled(self, most: int) -> Tensor:
        """Return all values, or about so many from even places: a few runs, each read alone."""
        if self.elements <= most:
            return self.tensor().reshape(-1)
        run = most // SAMPLE_RUNS
        found = torch.empty(SAMPLE_RUNS, run, dtype=self.dtype)
        buffer = bytearray(run * self.dtype.itemsize)
        with self.file.open("rb", buffering=0) as source:
            for number in range(SAMPLE_RUNS):
                begin = number * (self.elements - run) // (SAMPLE_RUNS - 1)
                source.seek(self.offset + begin * self.dtype.itemsize)
                _read(source, memoryview(buffer), self.file)
                found[number] = torch.frombuffer(buffer, dtype=self.dtype)
        return found.reshape(-1)

    def tensor(self) -> Tensor:
        """Return the whole tensor, in memory of its own."""
        whole = torch.empty(self.elements, dtype=self.dtype)
        begin = 0
        for piece in self.pieces():
            whole[begin : begin + len(piece)] = piece
            begin += len(piece)
        return whole.view(self.shape)


def stored(place: Path) -> list[Stored]:
    """Return every tensor that the library finds in a folder, in the order of its files; or those of one file."""
    found: dict[str, Stored] = {}
    for file in [place] if place.is_file() else weight_files(place):
        for entry in _entries(file):
            if entry.name in found:
                raise CheckError(f"Tensor {entry.name!r} stands in {found[entry.name].file} and again in {file}.")
            found[entry.name] = entry
    return list(found.values())


def elements_in(folder: Path) -> int:
    """Return how many elements all tensors of a folder have."""
    return sum(entry.elements for entry in stored(folder))


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that a library reads in `folder`: those of an index, or the only one."""
    single = [folder / name for name in _SINGLE if (folder / name).is_file()]
    indexes = sorted(folder.glob("*.safetensors.index.json"))
    if len(single) + len(indexes) > 1:
        names = ", ".join(path.name for path in (*single, *indexes))
        raise CheckError(f"{folder} holds {names}; it is not clear which of them a library reads. Keep one.")
    if indexes:
        return _indexed(indexes[0])
    files = single or sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckError(
            f"There is no safetensors file in {str(folder)!r}. Type the folder that predict or a library wrote."
        )
    for file in files:
        if not file.is_file():
            what = "leads nowhere" if file.is_symlink() else "is no regular file"
            raise CheckError(f"{file} cannot be read: it {what}. Get it again.")
    return files


def _indexed(index: Path) -> list[Path]:
    given = read_json_object(index, most=MAX_INDEX, error=CheckError)
    try:
        files = [index.parent / Path(name) for name in sorted(set(given["weight_map"].values()))]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckError(f"{index} is no index of shards: {type(error).__name__}: {error}. Get it again.") from error
    for file in files:
        if file.parent != index.parent or not file.name.endswith(".safetensors"):
            raise CheckError(f"{index} names {str(file)!r}; allowed are the safetensors files beside it.")
        if not file.is_file():
            raise CheckError(f"{index} names {file.name}, which is not there. Get it again.")
    return files


def _entries(file: Path) -> Iterator[Stored]:
    """Yield what the file's header lists."""
    for each in listed_in(file):
        yield Stored(name=each.name, file=file, dtype=_DTYPES[each.dtype], shape=each.shape, offset=each.offset)


def _read(source: Any, view: memoryview, file: Path) -> None:
    while view:
        count = source.readinto(view)
        if not count:
            raise CheckError(f"{file} became shorter while it was read. Get it again.")
        view = view[count:]
