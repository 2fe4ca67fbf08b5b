"""Reads a published checkpoint without running it: torch archives, torch's older streams, and plain pickles (joblib).

What comes out are dictionaries, lists, texts, numbers and descriptions of tensors. Limits come before work: sizes and
counts are compared with the bytes that are there, and no tensor is made before somebody asks for it.
"""

import hashlib
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import torch

from paramgen.errors import ForeignError
from paramgen.published.archive import parts
from paramgen.published.cursor import Cursor, shown
from paramgen.published.pickles import Budget, Embedded, Machine
from paramgen.published.tensors import MAX_STORAGE_ELEMENTS, Storage

MAX_CHECKPOINT_BYTES: Final = 1 << 34  # the training state of the largest published hypernet has half of that
MAX_OBJECT_DEPTH: Final = 32
_ZIP: Final = b"PK\x03\x04"
_STREAM_MARK: Final = 0x1950A86A20F9469CFC6C  # the first object of torch's older format
_STREAM_VERSION: Final = 1001
_HASH_BLOCK: Final = 1 << 22
_MAX_IDENTITY: Final = 6  # parts of a storage's persistent id


@final
@dataclass(frozen=True, slots=True, eq=False)
class ForeignFile:
    """A checkpoint that has been read."""

    path: Path
    content: object
    data: memoryview

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes that were read."""
        digest = hashlib.sha256()
        for start in range(0, len(self.data), _HASH_BLOCK):
            digest.update(self.data[start : start + _HASH_BLOCK])
        return digest.hexdigest()


def read(path: Path) -> ForeignFile:
    """Return the content of a checkpoint, or refuse it."""
    data = _opened(path)
    content = _CheckpointReader(str(path)).content(data)
    _check_depth(content, str(path))
    return ForeignFile(path, content, data)


def _opened(path: Path) -> memoryview:
    """Return the bytes of a file, mapped: only what is looked at takes memory."""
    try:
        if not path.is_file():
            raise ForeignError(f"{str(path)!r} is no file. Type the name of a published checkpoint.")
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if not 0 < size <= MAX_CHECKPOINT_BYTES:
                raise ForeignError(f"{str(path)!r} has {size:,} bytes; allowed are 1 to {MAX_CHECKPOINT_BYTES:,}.")
            return memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ))
    except OSError as error:
        raise ForeignError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from error


def _check_depth(content: object, name: str) -> None:
    """Refuse what is nested deeper than any checkpoint; without recursion, and once per object."""
    level: list[object] = [content]
    seen: set[int] = set()
    for _ in range(MAX_OBJECT_DEPTH):
        inner: list[object] = []
        for value in level:
            if isinstance(value, (dict, list, tuple)) and id(value) not in seen:
                seen.add(id(value))
                inner.extend(value.values() if isinstance(value, dict) else value)
        if not inner:
            return
        level = inner
    raise ForeignError(f"{name} is refused: its objects are nested more than {MAX_OBJECT_DEPTH} deep.")


@final
class _CheckpointReader:
    """Reads one file; everything embedded in it shares one budget of instructions."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._budget = Budget()

    def content(self, data: memoryview) -> object:
        """Return what the file holds; only a file, not what is embedded in one, may have files embedded in it."""
        return self._torch_or_pickle(data, self._storage_of)

    def _storage_of(self, data: memoryview) -> Storage:
        """Return the one storage of an embedded file."""
        storage = self._torch_or_pickle(data, None)
        if not isinstance(storage, Storage) or storage.data is None:
            raise ForeignError(f"{self._name} is refused: {shown(storage)} is embedded where a storage is expected.")
        return storage

    def _torch_or_pickle(self, data: memoryview, embedded: Embedded | None) -> object:
        start = bytes(data[:4])
        if start == _ZIP:
            return self._archive(data)
        if start[:1] != b"\x80":
            raise ForeignError(
                f"{self._name} is neither a torch.save file nor a plain pickle (protocol 2 to 5, not compressed)."
            )
        cursor = Cursor(data, self._name)
        first = Machine(cursor, self._budget, embedded=embedded).run()
        if type(first) is int and first == _STREAM_MARK:
            return self._stream(cursor)
        if cursor.left:
            raise ForeignError(f"{self._name} is refused: {cursor.left:,} bytes follow its end. Get the file again.")
        return first

    def _archive(self, data: memoryview) -> object:
        found = parts(data, self._name, lambda count: self._budget.spend(self._name, count))
        mains = [path for path in found if path.endswith("/data.pkl") and path.count("/") == 1]
        if len(mains) != 1:
            raise ForeignError(f"{self._name} is an archive, but not one of torch.save: it has no data.pkl of its own.")
        prefix = mains[0].removesuffix("data.pkl")
        if bytes(found.get(f"{prefix}byteorder", b"little")[:16]) != b"little":
            raise ForeignError(f"{self._name} is refused: its numbers are not little-endian.")
        storages: dict[str, Storage] = {}

        def persistent(identity: object) -> Storage:
            key, storage = self._described(identity, storages)
            part = found.get(f"{prefix}data/{key}")
            if part is None or len(part) != storage.nbytes:
                raise ForeignError(
                    f"{self._name} is damaged: storage {shown(key)} should have {storage.nbytes:,} bytes, but "
                    f"{'is missing' if part is None else f'has {len(part):,}'}. Get the file again."
                )
            storage.data = part
            return storage

        cursor = Cursor(found[mains[0]], self._name)
        return Machine(cursor, self._budget, persistent=persistent).run()

    def _stream(self, cursor: Cursor) -> object:
        """Return what the older format holds: version, machine, object, the keys of its storages, the storages."""
        version = self._next(cursor)
        machine = self._next(cursor)
        if version != _STREAM_VERSION or not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise ForeignError(
                f"{self._name} is refused: a torch stream of version {shown(version)}, or not little-endian; version "
                f"{_STREAM_VERSION} is read."
            )
        storages: dict[str, Storage] = {}
        content = Machine(cursor, self._budget, persistent=lambda found: self._described(found, storages)[1]).run()
        keys = self._next(cursor)
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
            raise ForeignError(f"{self._name} is damaged: its list of storages is no list of keys. Get the file again.")
        for key in keys:
            elements = cursor.unpack("<q")
            if key not in storages or storages[key].elements != elements:
                raise ForeignError(f"{self._name} is damaged: storage {shown(key)} is not as announced. Get it again.")
            storages[key].data = cursor.take(storages[key].nbytes)
        if cursor.left or any(storage.data is None for storage in storages.values()):
            raise ForeignError(f"{self._name} is damaged: its storages are not all there, or more. Get the file again.")
        return content

    def _next(self, cursor: Cursor) -> object:
        return Machine(cursor, self._budget).run()

    def _described(self, identity: object, storages: dict[str, Storage]) -> tuple[str, Storage]:
        """Return key and storage that a persistent id means: ("storage", type, key, device, elements[, no view])."""
        match identity if isinstance(identity, tuple) and len(identity) <= _MAX_IDENTITY else None:
            case ("storage", torch.dtype() as dtype, str() as key, str(), int() as elements, *view) if view in (
                [],
                [None],
            ):
                if not 0 <= elements <= MAX_STORAGE_ELEMENTS:
                    raise ForeignError(f"{self._name} is refused: a storage of {shown(elements)} elements.")
                storage = storages.setdefault(key, Storage(dtype, elements))
                if storage.dtype != dtype or storage.elements != elements:
                    raise ForeignError(f"{self._name} is refused: storage {shown(key)} is of two kinds.")
                return key, storage
        raise ForeignError(f"{self._name} is refused: it refers to something that is no storage.")
