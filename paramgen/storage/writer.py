"""Stream tensors to disk in any order, one in memory at a time: the plan says where, the writer seeks.

Needs a POSIX system and a little-endian machine (safetensors is little-endian); others are refused.
"""

import os
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from errno import EINVAL, ENOSPC, ENOSYS, EOPNOTSUPP
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Final, final

import torch
from torch import Tensor

from paramgen.errors import IncompleteStateError, OutputError
from paramgen.storage.plan import Entry, Place, Plan

# Bytes converted, moved and written at a time. Larger ones are no faster and leave holes in the allocator's heap:
# with 8 MiB, writing 100 MB as bfloat16 took 60 MB more, with 1 MiB it takes 9 MB.
CHUNK: Final = 1 << 20


@final
class SafetensorsWriter:
    """Write a plan's files into `folder`: every entry once, or nothing at all.

    Space is reserved on entering. Whatever goes wrong, leaving removes the files that were begun. Several threads may
    write different slots at once.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._descriptors: dict[str, int] = {}
        self._created: list[Path] = []
        self._claimed: set[str] = set()
        self._written: set[str] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> "SafetensorsWriter":
        if sys.byteorder != "little" or not hasattr(os, "pwrite"):
            raise OutputError(f"Cannot write safetensors on this {sys.byteorder}-endian {sys.platform} machine.")
        try:
            self._begin()
        except BaseException:
            self._close()
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        finished = False
        try:
            if kind is None:
                self._finish()
                finished = True
        finally:
            self._close()
            if not finished:
                self._remove()

    def write(self, name: str, tensor: Tensor) -> None:
        """Put `tensor` at its place, converted to the planned dtype piece by piece."""
        place = self._claimed_place(name)
        try:
            write_tensor(self._descriptors[place.file], place, tensor)
        except OSError as error:
            raise self._failure(error) from error
        self._written.add(name)

    def write_pieces(self, names: Sequence[str], parts: Iterable[Tensor]) -> None:
        """Put one tensor that comes in flat parts, in row-major order, at every place of `names`."""
        places = [self._claimed_place(name) for name in names]
        done = 0
        for part in parts:
            for place in places:
                _refuse_overlong(place, done + len(part))
                _refuse_other_kind(part, place.entry)
                content = _content(part, place.entry.dtype)
                try:
                    _write_all(self._descriptors[place.file], content, place.offset + done * place.entry.dtype.itemsize)
                except OSError as error:
                    raise self._failure(error) from error
            done += len(part)
        for name, place in zip(names, places, strict=True):
            if done != prod(place.entry.shape):
                raise IncompleteStateError(
                    f"Slot {name!r} was given {done:,} elements; planned is {place.entry.shape}."
                )
        self._written.update(names)

    def _claimed_place(self, name: str) -> Place:
        place = self._plan.places.get(name)
        if place is None:
            raise IncompleteStateError(f"No slot is called {name!r} among the {len(self._plan.places)} planned ones.")
        with self._lock:
            if name in self._claimed:
                raise IncompleteStateError(f"Slot {name!r} was given a second tensor; allowed is one.")
            self._claimed.add(name)
        return place

    def _begin(self) -> None:
        """Create every file at its full length and write its head."""
        try:
            for name, size in self._plan.sizes.items():
                descriptor = self._create(name)
                if not _reserved(descriptor, size):
                    # Nothing is taken from the disk yet: all files together have to fit into what is free.
                    usage = shutil.disk_usage(self._folder)
                    if usage.total and usage.free < sum(self._plan.files.values()):
                        raise OSError(ENOSPC, os.strerror(ENOSPC))
                    os.truncate(descriptor, size)
                _write_all(descriptor, memoryview(self._plan.heads[name]), 0)
        except OSError as error:
            raise self._failure(error) from error

    def _finish(self) -> None:
        """Refuse missing slots; then write the index, so that it never names a tensor that is not there."""
        missing = [name for name in self._plan.places if name not in self._written]
        if missing:
            raise IncompleteStateError(
                f"{len(missing)} of {len(self._plan.places)} slots have no tensor, first {missing[0]!r}."
            )
        try:
            for name, content in self._plan.index.items():
                _write_all(self._create(name), memoryview(content), 0)
            for descriptor in self._descriptors.values():
                os.fsync(descriptor)
        except OSError as error:
            raise self._failure(error) from error

    def _create(self, name: str) -> int:
        """Open a file that did not exist, remembered so that it can be removed."""
        path = self._folder / name
        self._descriptors[name] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._created.append(path)
        return self._descriptors[name]

    def _failure(self, error: OSError) -> OutputError:
        """Say in one line what could not be written, how much space it needs and how much there is."""
        needed = sum(self._plan.files.values())
        what = repr(Path(error.filename).name) if error.filename else "the weights"
        free = shutil.disk_usage(self._folder).free if self._folder.is_dir() else 0
        free += sum(os.fstat(descriptor).st_blocks * 512 for descriptor in self._descriptors.values())  # ours
        return OutputError(
            f"Cannot write {what}: {error.strerror or error}. Needed are {needed:,} bytes, free are {free:,}. Type "
            "another output folder."
        )

    def _close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def _remove(self) -> None:
        while self._created:
            self._created.pop().unlink(missing_ok=True)


def write_tensor(descriptor: int, place: Place, tensor: Tensor) -> None:
    """Write `tensor` at its place of an open file, converted to the planned dtype piece by piece."""
    _refuse_misfit(tensor, place)
    position = place.offset
    for piece in pieces(tensor.detach(), max(1, CHUNK // place.entry.dtype.itemsize)):
        content = _content(piece, place.entry.dtype)
        _write_all(descriptor, content, position)
        position += len(content)


def pieces(tensor: Tensor, elements: int) -> Iterator[Tensor]:
    """Cut `tensor` into views of at most `elements` elements that follow each other in row-major order."""
    if tensor.numel() <= elements:
        yield tensor
    elif tensor.is_contiguous():
        yield from torch.split(tensor.view(-1), elements)
    elif (row := tensor[0].numel()) <= elements:
        yield from torch.split(tensor, elements // row)
    else:
        for part in tensor:
            yield from pieces(part, elements)


def _refuse_misfit(tensor: Tensor, place: Place) -> None:
    """Refuse a tensor whose values cannot be those of the slot."""
    entry = place.entry
    if tuple(tensor.shape) != entry.shape:
        raise IncompleteStateError(
            f"Slot {entry.name!r} was given a tensor of shape {tuple(tensor.shape)}; planned is {entry.shape}."
        )
    if tensor.is_meta or tensor.layout != torch.strided:
        raise IncompleteStateError(
            f"Slot {entry.name!r} was given a {tensor.layout} tensor on {tensor.device}; allowed are dense tensors "
            "that hold values."
        )
    _refuse_other_kind(tensor, entry)


def _refuse_other_kind(tensor: Tensor, entry: Entry) -> None:
    # Narrower is allowed, another kind is not: a fraction in an integer slot or a phase in a real one would be lost.
    if not torch.can_cast(tensor.dtype, entry.dtype):
        raise IncompleteStateError(
            f"Slot {entry.name!r} was given a {tensor.dtype} tensor; planned is {entry.dtype}, which cannot hold it."
        )


def _refuse_overlong(place: Place, elements: int) -> None:
    """Refuse what would be written over the next tensor."""
    if elements > prod(place.entry.shape):
        raise IncompleteStateError(
            f"Slot {place.entry.name!r} was given {elements:,} elements or more; planned is {place.entry.shape}."
        )


def _content(piece: Tensor, dtype: torch.dtype) -> memoryview:
    """Return the bytes of `piece` as `dtype`; no copy is made of what is on the CPU, contiguous and of that dtype."""
    plain = piece.resolve_conj().resolve_neg().to("cpu", dtype).contiguous()
    return plain.view(-1).view(torch.uint8).numpy().data


def _write_all(descriptor: int, content: memoryview, position: int) -> None:
    """Write all of `content`: one call may take less than it is given."""
    while content:
        count = os.pwrite(descriptor, content, position)
        content, position = content[count:], position + count


def _reserved(descriptor: int, size: int) -> bool:
    """Take `size` bytes of disk now, so that a full one is found before the first tensor is made, if that can be."""
    if not hasattr(os, "posix_fallocate"):  # macOS
        return False
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in (EINVAL, ENOSYS, EOPNOTSUPP):  # not every filesystem can
            return False
        raise
    return True
