"""Labelled images in class folders, or in a tar of such, decoded once into one uint8 array per split and size.

The layout is `train/<class>/**/<image>` and `test/<class>/**/<image>`. Classes are numbered in the order of their
names; for CIFAR-10 that is the numbering of its authors.
"""

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Final, Literal, final

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from PIL import Image
from torch import Tensor

from paramgen.errors import OptionError

Split = Literal["train", "test"]

SUFFIXES: Final = frozenset((".jpg", ".jpeg", ".png"))
MEAN: Final = (0.4914, 0.4822, 0.4465)
DEVIATION: Final = (0.2470, 0.2435, 0.2616)
MAX_PIXELS: Final = 50_000_000  # per image: a decompression bomb stops here
MAX_BYTES: Final = 20_000_000  # per file


@final
@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """One split at one size."""

    pixels: UInt8[Tensor, "batch 3 size size"]
    labels: Int64[Tensor, " batch"]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Float[Tensor, "batch 3 size size"], Tensor]:
        """Return `count` random images, flipped and shifted at random, and their labels."""
        index = torch.randint(len(self), (count,), generator=generator)
        images = _normalize(self.pixels[index])
        flip = torch.rand(count, generator=generator) < 0.5
        images[flip] = images[flip].flip(-1)
        return _shift(images, images.shape[-1] // 16, generator), self.labels[index]

    def batches(self, size: int, *, limit: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the split in batches, shuffled once and always alike, without the last incomplete one."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))[:limit]
        for index in order.split(size):
            if len(index) == size:
                yield _normalize(self.pixels[index]), self.labels[index]


def load_images(source: Path, split: Split, size: int, cache: Path) -> Images:
    """Read a split of `source` (a folder or a tar), scaled to `size` by area; decoded once, kept under `cache`."""
    if not source.exists():
        raise OptionError(f"--data {source} does not exist; it is a folder or tar of train/<class>/*.jpg.")
    stem = cache / f"{_fingerprint(source)}-{split}-{size}"
    if not stem.with_suffix(".json").exists():
        _decode(source, split, size, stem)
    description = json.loads(stem.with_suffix(".json").read_text())
    pixels = np.load(stem.with_suffix(".npy"), allow_pickle=False)
    labels = torch.tensor(description["labels"], dtype=torch.int64)
    return Images(torch.from_numpy(pixels), labels, tuple(description["classes"]))


def _decode(source: Path, split: Split, size: int, stem: Path) -> None:
    """Write the array, then, by renaming, the description that says that the array is whole."""
    names: list[str] = []
    arrays: list[UInt8[np.ndarray, "3 size size"]] = []
    for name, data in _files(source, split):
        names.append(name)
        arrays.append(_pixels(data, size, name))
    if not arrays:
        raise OptionError(f"--data {source} has no {split}/<class>/*.jpg; the split {split!r} must exist.")
    classes = sorted(set(names))
    number = {name: index for index, name in enumerate(classes)}
    stem.parent.mkdir(parents=True, exist_ok=True)
    partial = stem.with_name(f"{stem.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.save(file, np.stack(arrays), allow_pickle=False)
    partial.replace(stem.with_suffix(".npy"))
    partial.write_text(json.dumps({"classes": classes, "labels": [number[name] for name in names]}))
    partial.replace(stem.with_suffix(".json"))


def _files(source: Path, split: Split) -> Iterator[tuple[str, bytes]]:
    """Yield class and bytes of every image of the split, in the order of their paths (folder) or of the tar."""
    if source.is_dir():
        for path in sorted((source / split).rglob("*")):
            label = _label(PurePosixPath(path.relative_to(source).as_posix()), split)
            if label and path.is_file():
                yield label, path.read_bytes()
        return
    # Members are read, never extracted: a path that leaves the folder, a link or a device reaches no disk.
    with tarfile.open(source, "r|*") as archive:
        for member in archive:
            label = _label(PurePosixPath(member.name), split)
            file = archive.extractfile(member) if label and member.isreg() and member.size <= MAX_BYTES else None
            if file is not None:
                yield label, file.read()


def _label(path: PurePosixPath, split: Split) -> str:
    """Return the class that a path names, or nothing where it is not an image of this split."""
    parts = tuple(part for part in path.parts if part != ".")
    if len(parts) < 3 or parts[0] != split or ".." in parts or path.suffix.lower() not in SUFFIXES:
        return ""
    return parts[1]


def _pixels(data: bytes, size: int, name: str) -> UInt8[np.ndarray, "3 size size"]:
    with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
        if image.width * image.height > MAX_PIXELS:
            raise OptionError(f"An image of class {name!r} has {image.size} pixels; allowed are {MAX_PIXELS:,}.")
        scaled = image.convert("RGB").resize((size, size), Image.Resampling.BOX)
        return np.asarray(scaled, dtype=np.uint8).transpose(2, 0, 1)


def _fingerprint(source: Path) -> str:
    """Tell sources apart by place, size and time of change."""
    stat = source.stat()
    return hashlib.sha256(f"{source.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}".encode()).hexdigest()[:16]


def _normalize(pixels: UInt8[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch 3 size size"]:
    mean = torch.tensor(MEAN).view(1, 3, 1, 1)
    deviation = torch.tensor(DEVIATION).view(1, 3, 1, 1)
    return (pixels.float().div_(255) - mean) / deviation


def _shift(images: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """Move the whole batch by up to `reach` pixels; the border repeats."""
    if reach == 0:
        return images
    down, right = torch.randint(0, 2 * reach + 1, (2,), generator=generator).tolist()
    size = images.shape[-1]
    padded = torch.nn.functional.pad(images, (reach,) * 4, mode="replicate")
    return padded[:, :, down : down + size, right : right + size]
