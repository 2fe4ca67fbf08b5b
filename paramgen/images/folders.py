"""Class folders, or a tar of such: `train/<class>/*.jpg` and `test/<class>/*.jpg`, or `<class>/*.jpg` alone.

`val`, `valid` and `validation` stand for `test`. Without such a folder a fifth of each class is kept for testing,
chosen by a fixed seed. The one other layout that is understood is that of Tiny ImageNet, whose validation images lie
in one folder beside a file that names their classes.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from errno import EACCES
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeVar, final

import torch

from paramgen.errors import OptionError, one_line
from paramgen.images.pictures import MAX_FILES, MAX_PICTURE_BYTES, is_image, refuse_size
from paramgen.images.sets import ImageSet, Split
from paramgen.images.tars import TAR_SUFFIXES, Member, contents, members

TRAIN: Final = ("train", "training")
TEST: Final = ("test", "val", "valid", "validation")
ANNOTATIONS: Final = "val_annotations.txt"
HELD_OUT: Final = 0.2

T = TypeVar("T")


@final
@dataclass(frozen=True, slots=True)
class _File:
    parts: tuple[str, ...]  # the path from the data's root
    size: int
    order: int  # in which a tar is read without going back


_Read = Callable[[Sequence[_File]], Iterator[tuple[str, Any]]]


def is_tar(path: Path) -> bool:
    """Whether the name is that of a tar."""
    return path.is_file() and path.name.lower().endswith(TAR_SUFFIXES)


def has_images(path: Path) -> bool:
    """Whether `path` is a tar or a folder with an image somewhere in it."""
    return is_tar(path) or (path.is_dir() and any(is_image(PurePosixPath(each)) for each in path.rglob("*")))


def folder_images(path: Path) -> ImageSet:
    """Return the images of a folder or a tar.

    Raises:
        OptionError: It has no class folders, or a class for testing alone.
    """
    files, read = _tar(path) if is_tar(path) else _folder(path)
    _refuse_letters(path, files)
    images = _without_common_root([file for file in files if is_image(PurePosixPath(*file.parts))])
    where = next((file for file in files if file.parts[-1] == ANNOTATIONS), None)
    annotations = b"" if where is None else next(read([where]))[1]
    if not images or len(images[0][0]) < 2:
        raise OptionError(f"--data {path} has no class folders: it must hold a folder of images for each class.")
    train, test, notes = _splits(images, _annotated(annotations), str(path))
    classes = tuple(sorted({label for label, _ in train}))
    unknown = sorted({label for label, _ in test} - set(classes))
    if unknown:
        raise OptionError(
            f"--data {path}: the test images have a class {unknown[0]!r} that the training images lack. Give both the "
            "same class folders, or remove the test folder to have a part of the training images held out."
        )
    number = {label: index for index, label in enumerate(classes)}
    identity = hashlib.sha256(str(path.resolve()).encode())
    for file in sorted(files, key=lambda file: file.parts):
        identity.update(f"{'/'.join(file.parts)}\0{file.size}\0".encode())
    identity.update(str(_changed(path, files)).encode())
    return ImageSet(
        name=str(path),
        classes=classes,
        train=_split(train, number, read),
        test=_split(test, number, read),
        identity=identity.hexdigest(),
        notes=notes,
    )


def _split(entries: list[tuple[str, _File]], number: dict[str, int], read: _Read) -> Split:
    ordered = sorted(entries, key=lambda entry: entry[1].order)

    def chosen(indices: Sequence[int]) -> Iterator[tuple[str, Any]]:
        return read([ordered[index][1] for index in indices])

    return Split(labels=[number[label] for label, _ in ordered], read=chosen)


def _splits(
    images: list[tuple[tuple[str, ...], _File]], annotated: dict[str, str], name: str
) -> tuple[list[tuple[str, _File]], list[tuple[str, _File]], tuple[str, ...]]:
    """Return (class, file) for training and testing, and how they were chosen, in a sentence."""
    tops = {parts[0] for parts, _ in images}
    training = next((top for top in TRAIN if top in tops), None)
    if training is None:
        every = [(parts[0], file) for parts, file in images if len(parts) > 1]
        return (*_held_out(every), (f"{HELD_OUT:.0%} of each class were held out for testing, by a fixed seed.",))
    train = [(parts[1], file) for parts, file in images if parts[0] == training and len(parts) > 2]
    labelled = next((top for top in TEST if _test_of(images, top, annotated)), None)
    if labelled is None:
        note = f"There is no test folder with classes, so {HELD_OUT:.0%} of each class were held out, by a fixed seed."
        return (*_held_out(train), (note,))
    return train, _test_of(images, labelled, annotated), ()


def _test_of(
    images: list[tuple[tuple[str, ...], _File]], top: str, annotated: dict[str, str]
) -> list[tuple[str, _File]]:
    found = [(parts, file) for parts, file in images if parts[0] == top]
    if top == "val" and annotated:
        return [(annotated[parts[-1]], file) for parts, file in found if parts[-1] in annotated]
    classes = [(parts[1], file) for parts, file in found if len(parts) > 2]
    return classes if len({label for label, _ in classes}) > 1 else []  # one folder holds unlabelled images


def _held_out(entries: list[tuple[str, _File]]) -> tuple[list[tuple[str, _File]], list[tuple[str, _File]]]:
    """Keep a share of each class for testing, at least one image where there are two."""
    train, test = [], []
    generator = torch.Generator().manual_seed(0)
    for label in sorted({label for label, _ in entries}):
        own = [entry for entry in entries if entry[0] == label]
        order = torch.randperm(len(own), generator=generator).tolist()
        count = max(1, round(HELD_OUT * len(own))) if len(own) > 1 else 0
        test += [own[index] for index in sorted(order[:count])]
        train += [own[index] for index in sorted(order[count:])]
    return train, test


def _annotated(text: bytes) -> dict[str, str]:
    """Read Tiny ImageNet's lines of file, class and box."""
    lines = (line.split("\t") for line in text.decode("utf-8", errors="replace").splitlines())
    return {line[0]: line[1] for line in lines if len(line) > 1}


def _without_common_root(files: list[_File]) -> list[tuple[tuple[str, ...], _File]]:
    """Drop leading folders that all share, as tars have them, as long as class folders are left."""
    most = min((len(file.parts) for file in files), default=0) - 2
    shared = 0
    while shared < most and files[0].parts[shared] not in TRAIN and _alike(files, shared):
        shared += 1
    return [(file.parts[shared:], file) for file in files]


def _alike(files: list[_File], level: int) -> bool:
    return all(file.parts[level] == files[0].parts[level] for file in files)


def _folder(root: Path) -> tuple[list[_File], _Read]:
    """List a folder's files. A link to a file is followed, as many collections are folders of links; no other is."""
    try:
        paths = sorted(_counted(_regular(root), root))
        files = [_File(path.relative_to(root).parts, path.stat().st_size, order) for order, path in enumerate(paths)]
    except OSError as error:
        raise OptionError(f"--data {root} cannot be read: {one_line(error)}.") from error

    def read(chosen: Sequence[_File]) -> Iterator[tuple[str, Any]]:
        for file in chosen:
            path = root.joinpath(*file.parts)
            refuse_size(str(path), file.size)
            try:
                with path.open("rb") as opened:
                    content = opened.read(MAX_PICTURE_BYTES + 1)
            except OSError as error:
                raise OptionError(f"{path} cannot be read: {one_line(error)}. Remove it or mend it.") from error
            refuse_size(str(path), len(content))  # it may have grown
            yield str(path), content

    return files, read


def _regular(root: Path) -> Iterator[Path]:
    """Yield every file in a folder and below; refuse a folder below that cannot be looked into, or a class is lost."""
    for path in root.rglob("*"):
        if path.is_file():
            yield path
        elif path.is_dir() and not path.is_symlink() and not os.access(path, os.R_OK | os.X_OK):
            raise PermissionError(EACCES, os.strerror(EACCES), str(path))


def _tar(path: Path) -> tuple[list[_File], _Read]:
    """List a tar's files, which are read and never extracted: a path that leaves the folder reaches no disk."""
    files = [_File(member.parts, member.size, member.offset) for member in members(path)]

    def read(chosen: Sequence[_File]) -> Iterator[tuple[str, Any]]:
        return contents(path, [Member(file.parts, file.size, file.order) for file in chosen])

    return files, read


def _counted(entries: Iterable[T], where: Path) -> Iterator[T]:
    for count, entry in enumerate(entries):
        if count >= MAX_FILES:
            raise OptionError(f"--data {where} holds more than {MAX_FILES:,} files. Give a part of it.")
        yield entry


def _refuse_letters(path: Path, files: Sequence[_File]) -> None:
    """Refuse names that no text file could hold."""
    for file in files:
        name = "/".join(file.parts)
        if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
            raise OptionError(f"--data {path}: the name {name[:200]!r} is not in UTF-8. Rename that file or folder.")


def _changed(path: Path, files: Sequence[_File]) -> int:
    """Return when the data changed last, in nanoseconds."""
    if path.is_file():
        return path.stat().st_mtime_ns
    return max((path.joinpath(*file.parts).stat().st_mtime_ns for file in files), default=0)
