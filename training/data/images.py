"""Labelled images, decoded once into one uint8 array per split and size, and kept so on the device that trains.

Classes are numbered in the order of their names; for CIFAR-10 that is the numbering of its authors.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from paramgen.errors import OptionError
from training.data.folders import Split, files, fingerprint

MEAN: Final = (0.4914, 0.4822, 0.4465)
DEVIATION: Final = (0.2470, 0.2435, 0.2616)
MAX_PIXELS: Final = 50_000_000  # per image: a decompression bomb stops here
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
        return _shift(images, images.shape[-1] // 16, generator), self.labels[index]

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
    """Return both splits at every size; what is not yet under `cache` is decoded in one pass and kept there."""
    name = fingerprint(source)
    stems = {(split, size): cache / f"{name}-{split}-{size}" for split in _SPLITS for size in sizes}
    missing = {size for (_, size), stem in stems.items() if not stem.with_suffix(".json").exists()}
    if missing:
        _decode(source, {key: stem for key, stem in stems.items() if key[1] in missing})
    return {key: _read(stem) for key, stem in stems.items()}


def _read(stem: Path) -> Images:
    description = json.loads(stem.with_suffix(".json").read_text())
    pixels = np.load(stem.with_suffix(".npy"), allow_pickle=False)
    labels = torch.tensor(description["labels"], dtype=torch.int64)
    return Images(torch.from_numpy(pixels), labels, tuple(description["classes"]))


def _decode(source: Path, stems: dict[tuple[Split, int], Path]) -> None:
    labels: dict[Split, list[str]] = {split: [] for split in _SPLITS}
    arrays: dict[tuple[Split, int], list[UInt8[np.ndarray, "3 size size"]]] = {key: [] for key in stems}
    sizes = sorted({size for _, size in stems})
    for split, label, data in files(source):
        labels[split].append(label)
        for size, pixels in zip(sizes, _pixels(data, sizes, label), strict=True):
            arrays[split, size].append(pixels)
    for split in _SPLITS:
        if not labels[split]:
            raise OptionError(f"--data {source} has no {split}/<class>/*.jpg; a set has train/ and test/ or val/.")
    classes = sorted(set(labels["train"]))
    if unknown := set(labels["test"]) - set(classes):
        raise OptionError(f"--data {source} has no training images of {min(unknown)!r}, which the test images name.")
    number = {name: index for index, name in enumerate(classes)}
    for (split, size), stem in stems.items():
        description = json.dumps({"classes": classes, "labels": [number[label] for label in labels[split]]})
        _keep(stem, np.stack(arrays.pop((split, size))), description)


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


def _pixels(data: bytes, sizes: Sequence[int], label: str) -> list[UInt8[np.ndarray, "3 size size"]]:
    try:
        with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise OptionError(f"An image of class {label!r} has {image.size} pixels; allowed are {MAX_PIXELS:,}.")
            colours = image.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise OptionError(f"An image of class {label!r} is no JPEG or PNG that can be read. Take it out.") from error
    scaled = (colours.resize((size, size), Image.Resampling.BOX) for size in sizes)
    return [np.asarray(image, dtype=np.uint8).transpose(2, 0, 1) for image in scaled]


def _normalize(pixels: UInt8[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch 3 size size"]:
    mean = torch.tensor(MEAN, device=pixels.device).view(1, 3, 1, 1)
    deviation = torch.tensor(DEVIATION, device=pixels.device).view(1, 3, 1, 1)
    return (pixels.float().div_(255) - mean) / deviation


def _shift(images: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """Move the whole batch by up to `reach` pixels; the border repeats."""
    if reach == 0:
        return images
    down, right = torch.randint(0, 2 * reach + 1, (2,), generator=generator).tolist()
    size = images.shape[-1]
    padded = torch.nn.functional.pad(images, (reach,) * 4, mode="replicate")
    return padded[:, :, down : down + size, right : right + size]
