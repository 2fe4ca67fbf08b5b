"""A tar of images, read as hostile: its files are listed within limits and read where they stand, never extracted.

A compressed tar may unpack to a million times its bytes, a header may ask for gigabytes of memory, and a size may be
negative, at which `tarfile` goes round in circles. So `tarfile` only lists, and reads through a file that goes forwards
in small pieces.
"""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, cast, final

from paramgen.errors import OptionError, one_line
from paramgen.images.pictures import MAX_FILES, refuse_size
from paramgen.storage.regular import refuse_irregular

TAR_SUFFIXES: Final = (".tar", ".tar.xz", ".tar.gz", ".tar.bz2", ".tgz", ".txz")
MAX_RATIO: Final = 100  # bytes that a byte of the tar may become, beside the first ones
MAX_TAR_NAME: Final = 4_096  # as in a file system
MAX_TAR_HEADER: Final = 65_536  # bytes of one
MAX_GLOBAL: Final = 100  # what is said of all members: each of them gets a copy
_FREE_BYTES: Final = 256_000_000  # that any tar may become
_FREE_MEMBERS: Final = 100_000  # that any tar may have
_MEMBER: Final = 50  # bytes that each further one takes of the tar, at least
_WRONG: Final = (
    tarfile.TarError, OSError, EOFError, ValueError, ArithmeticError, LookupError, RecursionError, zlib.error,
    lzma.LZMAError,
)  # fmt: skip


@final
@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of a tar."""

    parts: tuple[str, ...]
    size: int
    offset: int  # of its first byte in what the tar unpacks to


def members(path: Path) -> list[Member]:
    """Return the regular files of a tar whose names stay within it; of several with one name, the last."""
    found = {}
    try:
        nbytes = path.stat().st_size
        with _unpacked(path) as file:
            bounded = _Forwards(file, path, _FREE_BYTES + MAX_RATIO * nbytes)
            with tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r:") as archive:
                for each in _within(archive, path, min(MAX_FILES, _FREE_MEMBERS + nbytes // _MEMBER)):
                    member = Member(_parts(each.name), each.size, each.offset_data)
                    if member.parts and each.isreg():
                        found[member.parts] = member
    except _WRONG as error:
        raise _unreadable(path, error) from error
    return list(found.values())


def contents(path: Path, chosen: Sequence[Member]) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each of `chosen`; in the order of their offsets the tar is unpacked once."""
    try:
        with _unpacked(path) as file:
            for member in chosen:
                name = f"{path}:{'/'.join(member.parts)}"
                refuse_size(name, member.size)
                file.seek(member.offset)
                content = file.read(member.size)
                if len(content) < member.size:
                    raise EOFError("it ends too early")
                yield name, content
    except _WRONG as error:
        raise _unreadable(path, error) from error


def _within(archive: tarfile.TarFile, path: Path, most: int) -> Iterator[tarfile.TarInfo]:
    """Yield what a tar lists, and let go of it; refuse too many, and what no tar of images has."""
    count = 0
    while (member := archive.next()) is not None:
        cast("Any", archive).members.clear()  # which would keep all of them
        count += 1
        if count > most:
            raise OptionError(f"--data {path} holds more than {most:,} files. Give a part of it.")
        if len(archive.pax_headers) > MAX_GLOBAL:
            raise OptionError(f"--data {path} says more than {MAX_GLOBAL} things of all its files. Pack it again.")
        if len(member.name) > MAX_TAR_NAME:
            raise OptionError(
                f"--data {path} has a name of {len(member.name):,} letters; allowed are {MAX_TAR_NAME:,}."
            )
        if member.issparse():
            raise OptionError(f"--data {path} stores files with holes. Pack it again without holes")
        yield member


def _parts(name: str) -> tuple[str, ...]:
    """Return a member's path, or nothing if it does not stay within the tar."""
    path = PurePosixPath(name)
    return () if path.is_absolute() or ".." in path.parts else path.parts


def _unpacked(path: Path) -> Any:
    """Open a tar as what it begins like, to be read as if it were not packed."""
    refuse_irregular(path, OptionError)
    with open(path, "rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    if start.startswith(b"BZh"):
        return bz2.open(path)
    return lzma.open(path) if start == b"\xfd7zXZ\0" else open(path, "rb")


def _unreadable(path: Path, error: Exception) -> OptionError:
    return OptionError(f"--data {path} cannot be read as a tar: {one_line(error)}.")


@final
class _Forwards:
    """What `tarfile` lists from: it goes forwards only, reads small pieces, and ends at a number of bytes."""

    def __init__(self, file: Any, path: Path, most: int) -> None:
        self._file, self._path, self._most = file, path, most
        self._position = 0

    def tell(self) -> int:
        return self._position

    def read(self, count: int) -> bytes:
        if not 0 <= count <= MAX_TAR_HEADER:
            raise OptionError(f"--data {self._path} has a header of {count:,} bytes; allowed are {MAX_TAR_HEADER:,}.")
        self._refuse_beyond(self._position + count)
        found: bytes = self._file.read(count)
        self._position += len(found)
        return found

    def seek(self, position: int) -> None:
        if position < self._position:
            raise OptionError(f"--data {self._path} has a file that ends before it begins. Pack it again.")
        self._refuse_beyond(position)
        self._position = self._file.seek(position)

    def close(self) -> Any:
        """Leave the file to who opened it."""

    def _refuse_beyond(self, position: int) -> None:
        if position > self._most:
            raise OptionError(
                f"--data {self._path} unpacks to more than {self._most:,} bytes, which no images do. Unpack it "
                "yourself if you trust it, and give the folder."
            )
