"""Labelled images, decoded once into one uint8 array per split and size, and kept so on the device that trains.

Classes are numbered in the order of their names; for CIFAR-10 that is the numbering of its authors.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, final

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from paramgen.errors import OptionError
from paramgen.images.folders import folder_images
from paramgen.images.sets import decode

Split = Literal["train", "test"]

MEAN: Final = (0.4914, 0.4822, 0.4465)
STD: Final = (0.2470, 0.2435, 0.2616)
_SPLITS: Final[tuple[Split, ...]] = ("train", "test")


@final
@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """One split at one size."""

    pixels: UInt8[Tensor, "batch 3 size size"]
    labels: Int64[Tensor, " batch"]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Images":
        """Return the same images on a device."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))

    def draw(self, count: int, generator: torch.Generator) -> tuple[Float[Tensor, "batch 3 size size"], Tensor]:
        """Return `count` random images, flipped and shifted at random, and their labels."""
        # The generator is the CPU's wherever the images are, so that one seed draws the same images everywhere.
        index = torch.randint(len(self), (count,), generator=generator).to(self.labels.device)
        images = _normalize(self.pixels[index])
        flip = (torch.rand(count, generator=generator) < 0.5).to(self.labels.device)
        images = torch.where(flip[:, None, None, None], images.flip(-1), images)
        shifted = _shift(images, images.shape[-1] // 16, generator)
        # Convolutions take the layout of their images, and are a quarter faster on a core with channels last.
        return shifted.contiguous(memory_format=torch.channels_last), self.labels[index]

    def batches(self, size: int, *, limit: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the split in batches, shuffled once and always alike, without the last incomplete one."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))[:limit]
        for index in order.to(self.labels.device).split(size):
            if len(index) == size:
                yield _normalize(self.pixels[index]), self.labels[index]


def load_images(source: Path, split: Split, size: int, cache: Path) -> Images:
    """Return a split of `source` (a folder or a tar), scaled to `size` by area."""
    return load_set(source, (size,), cache)[split, size]


def load_set(source: Path, sizes: Sequence[int], cache: Path) -> dict[tuple[Split, int], Images]:
    """Return both splits at every size; what is not yet under `cache` is decoded in one pass and kept there.

    Where there is no test folder, a fifth of each class is held out.
    """
    name = fingerprint(source)
    stems = {(split, size): cache / f"{name}-{split}-{size}" for split in _SPLITS for size in sizes}
    missing = {size for (_, size), stem in stems.items() if not stem.with_suffix(".json").exists()}
    if missing:
        _decode(source, {key: stem for key, stem in stems.items() if key[1] in missing})
    return {key: _read(stem) for key, stem in stems.items()}


def fingerprint(source: Path) -> str:
    """Return a fingerprint of path, size and time of change; of a folder, of those of all its files."""
    if not source.exists():
        raise OptionError(f"--data {source} does not exist; it is a folder or tar of train/<class>/*.jpg.")
    digest = hashlib.sha256(str(source.resolve()).encode())
    for path in sorted(source.rglob("*")) if source.is_dir() else (source,):
        stat = path.stat()
        digest.update(f"\0{path}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _read(stem: Path) -> Images:
    description = json.loads(stem.with_suffix(".json").read_text())
    pixels = np.load(stem.with_suffix(".npy"), allow_pickle=False)
    labels = torch.tensor(description["labels"], dtype=torch.int64)
    return Images(torch.from_numpy(pixels), labels, tuple(description["classes"]))


def _decode(source: Path, stems: dict[tuple[Split, int], Path]) -> None:
    images = folder_images(source)
    sizes = sorted({size for _, size in stems})
    shapes = [(3, size, size) for size in sizes]
    for split in _SPLITS:
        files = images.train if split == "train" else images.test
        arrays = decode(files, range(len(files.labels)), shapes, images.name, scaling="area")
        description = json.dumps({"classes": images.classes, "labels": list(files.labels)})
        for size, pixels in zip(sizes, arrays, strict=True):
            _keep(stems[split, size], pixels, description)


def _keep(stem: Path, pixels: UInt8[np.ndarray, "batch 3 size size"], description: str) -> None:
    """Write the array, then, by renaming, the description that says that the array is whole."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    partial = stem.with_name(f"{stem.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.save(file, pixels, allow_pickle=False)
        os.fsync(file.fileno())
    partial.replace(stem.with_suffix(".npy"))
    partial.write_text(description)
    partial.replace(stem.with_suffix(".json"))


def _normalize(pixels: UInt8[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch 3 size size"]:
    mean = torch.tensor(MEAN, device=pixels.device).view(1, 3, 1, 1)
    std = torch.tensor(STD, device=pixels.device).view(1, 3, 1, 1)
    return (pixels.float().div_(255) - mean) / std


def _shift(images: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """Move the whole batch by up to `reach` pixels; the border repeats."""
    if reach == 0:
        return images
    down, right = torch.randint(0, 2 * reach + 1, (2,), generator=generator).tolist()
    size = images.shape[-1]
    padded = torch.nn.functional.pad(images, (reach,) * 4, mode="replicate")
    return padded[:, :, down : down + size, right : right + size]
