"""Where the images of a data set lie, in a folder or in a tar: which files belong to which split and class.

Training images are `train/<class>/**/<image>`. Test images are `test/<class>/**`, or `val/<class>/**`, or, as Tiny
ImageNet has them, `val/images/*` with their classes in `val/val_annotations.txt`. One folder around all of it, as many
archives have, is looked through.
"""

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, Literal, NamedTuple

from paramgen.errors import OptionError

Split = Literal["train", "test"]

SUFFIXES: Final = frozenset((".jpg", ".jpeg", ".png"))
MAX_BYTES: Final = 20_000_000  # per file
_ANNOTATIONS: Final = "val/val_annotations.txt"


class File(NamedTuple):
    """One image."""

    split: Split
    label: str
    data: bytes


def files(source: Path) -> Iterator[File]:
    """Yield every image of a folder (in the order of paths) or of a tar (in its own order)."""
    names = _names(source)
    root = _root(names)
    annotated = _annotations(source, root) if root + _ANNOTATIONS in names else None
    test = "test" if annotated is None and any(_inside(name, root, "test") for name in names) else "val"
    for name, data in _contents(
        source, tuple(name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES)
    ):
        if label := _inside(name, root, "train"):
            yield File("train", label, data)
        elif label := _inside(name, root, test):
            label = label if annotated is None else annotated.get(PurePosixPath(name).name, "")
            if label:
                yield File("test", label, data)


def fingerprint(source: Path) -> str:
    """Tell sources apart by place, size and time of change; a folder by those of all its files."""
    if not source.exists():
        raise OptionError(f"--data {source} does not exist; it is a folder or tar of train/<class>/*.jpg.")
    digest = hashlib.sha256(str(source.resolve()).encode())
    for path in sorted(source.rglob("*")) if source.is_dir() else (source,):
        stat = path.stat()
        digest.update(f"\0{path}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _names(source: Path) -> frozenset[str]:
    """Return the paths inside, without those that leave it."""
    if source.is_dir():
        found = [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]
    else:
        with _opened(source) as archive:
            found = [_plain(member.name) for member in archive if member.isreg() and member.size <= MAX_BYTES]
    return frozenset(name for name in found if name and not name.startswith("/") and ".." not in name.split("/"))


def _root(names: frozenset[str]) -> str:
    """Return the folder around everything, with its slash; nothing where `train` lies on top."""
    tops = {name.partition("/")[0] for name in names}
    return f"{tops.pop()}/" if len(tops) == 1 and "train" not in tops else ""


def _inside(name: str, root: str, folder: str) -> str:
    """Return the class that a path names, or nothing where it is no image of this folder's classes."""
    parts = name.removeprefix(root).split("/")
    usual = len(parts) >= 3 and parts[0] == folder and PurePosixPath(name).suffix.lower() in SUFFIXES
    return parts[1] if usual else ""


def _annotations(source: Path, root: str) -> dict[str, str]:
    """Return the class of every validation image: lines of name, class, and a box that is not needed."""
    ((_, data),) = _contents(source, (root + _ANNOTATIONS,))
    rows = (line.split("\t") for line in data.decode().splitlines())
    return {row[0]: row[1] for row in rows if len(row) >= 2}


def _contents(source: Path, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for name in sorted(names):
            yield name, (source / name).read_bytes()
        return
    wanted = frozenset(names)
    # Members are read, never extracted: a path that leaves the folder, a link or a device reaches no disk.
    with _opened(source) as archive:
        for member in archive:
            regular = member.isreg() and _plain(member.name) in wanted and member.size <= MAX_BYTES
            file = archive.extractfile(member) if regular else None
            if file is not None:
                yield _plain(member.name), file.read()


def _opened(source: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(source, "r|*")
    except tarfile.ReadError as error:
        raise OptionError(f"--data {source} is no folder and no tar; it is one of train/<class>/*.jpg.") from error


def _plain(name: str) -> str:
    return name.removeprefix("./")
