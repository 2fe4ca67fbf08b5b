"""Labelled images: which there are, and the chosen ones decoded to one size, once."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from paramgen.errors import OptionError
from paramgen.images.pictures import Scaling, decoded_bytes, fitted, ready
from paramgen.storage.folder import transaction

MAX_ARRAY: Final = 16_000_000_000  # bytes
_CHUNK: Final = 512  # images that are read before they are decoded
_CHUNK_BYTES: Final = 256_000_000  # of these, as files or, where a library has decoded them, as pixels


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Images that are not decoded yet. `read` yields those at ascending indices: a name, and bytes or a picture."""

    labels: Sequence[int]
    read: Callable[[Sequence[int]], Iterator[tuple[str, Any]]]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSet:
    """Images of at least two classes. `identity` is the same for the same content, without decoding it."""

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    identity: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            found = f"one class, {self.classes[0]!r}" if self.classes else "no class"
            raise OptionError(f"--data {self.name} has {found}; at least two are needed, a folder of images for each.")
        for which, split in (("training", self.train), ("test", self.test)):
            if len(split.labels) == 0:
                raise OptionError(f"--data {self.name} has no {which} images; give each class more images.")


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pixels:
    """One split at one size."""

    pixels: UInt8[Tensor, "batch channels height width"]
    labels: Int64[Tensor, " batch"]


def kept_at(images: ImageSet, shape: tuple[int, int, int], *, train: int, test: int, cache: Path) -> Path:
    """Return the folder in which these images of this shape are kept."""
    text = f"{images.identity}\0{shape}\0{train}\0{test}"
    return cache / hashlib.sha256(text.encode()).hexdigest()[:20]


def decoded(
    images: ImageSet, shape: tuple[int, int, int], *, train: int, test: int, folder: Path | None
) -> tuple[Pixels, Pixels]:
    """Return at most `train` and `test` images, chosen by a fixed seed, of `shape` (channels, height, width).

    A picture is scaled until it covers the shape, and cropped in the middle. What is in `folder` is not decoded again.
    """
    chosen = [(images.train, _chosen(len(images.train.labels), train))]
    chosen.append((images.test, _chosen(len(images.test.labels), test)))
    labels = [torch.tensor([split.labels[index] for index in indices]) for split, indices in chosen]
    files = [] if folder is None else [folder / f"{split}.npy" for split in ("train", "test")]
    if files and all(file.is_file() for file in files):
        arrays = [np.load(file, allow_pickle=False) for file in files]
    else:
        arrays = [decode(split, indices, (shape,), images.name)[0] for split, indices in chosen]
    found = [Pixels(pixels=torch.from_numpy(array), labels=label) for array, label in zip(arrays, labels, strict=True)]
    return found[0], found[1]


def keep(folder: Path, train: Pixels, test: Pixels) -> None:
    """Keep decoded images, unless they are."""
    if folder.exists():
        return
    with transaction(folder) as partial:
        for split, each in (("train", train), ("test", test)):
            np.save(partial / f"{split}.npy", each.pixels.numpy(), allow_pickle=False)


def resized(given: Pixels, shape: tuple[int, int, int]) -> Pixels:
    """Return images of `shape`; those of another size are scaled, by area where they become smaller.

    Raises:
        OptionError: They have another number of channels.
    """
    if tuple(given.pixels.shape[1:]) == shape:
        return given
    if given.pixels.shape[1] != shape[0]:
        raise OptionError(f"The images have {given.pixels.shape[1]} channels; the architecture takes {shape[0]}.")
    parts = [
        torch.nn.functional.interpolate(part.float(), shape[1:], mode="bilinear", antialias=True).round().byte()
        for part in given.pixels.split(1024)
    ]
    return Pixels(pixels=torch.cat(parts), labels=given.labels)


def _chosen(count: int, limit: int) -> list[int]:
    """Return at most `limit` indices, without looking at what is there, ascending."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:limit]
    return sorted(order.tolist())


def decode(
    split: Split,
    indices: Sequence[int],
    shapes: Sequence[tuple[int, int, int]],
    name: str,
    *,
    scaling: Scaling = "bicubic",
) -> list[UInt8[np.ndarray, "batch channels height width"]]:
    """Return the images of ascending `indices`, an array for each of `shapes`; every file is read and opened once.

    Raises:
        OptionError: There are more than fit into memory, or one cannot be opened.
    """
    size = len(indices) * sum(prod(shape) for shape in shapes)
    if size > MAX_ARRAY:
        raise OptionError(
            f"--data {name}: {len(indices):,} images of {' and '.join('x'.join(map(str, shape)) for shape in shapes)} "
            f"are more than {MAX_ARRAY / 1e9:.0f} GB. Take fewer: compare has --train-examples {len(indices) // 4}"
        )
    ready()
    arrays = [np.empty((len(indices), *shape), dtype=np.uint8) for shape in shapes]
    done = 0
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for chunk in _chunks(split.read(indices)):
            for found in pool.map(lambda item: fitted(item[1], shapes, item[0], scaling=scaling), chunk):
                for array, pixels in zip(arrays, found, strict=True):
                    array[done] = pixels
                done += 1
    return arrays


def _chunks(stream: Iterator[tuple[str, Any]]) -> Iterator[list[tuple[str, Any]]]:
    """Yield a few images at a time, fewer where they are large."""
    chunk: list[tuple[str, Any]] = []
    nbytes = 0
    for name, image in stream:
        chunk.append((name, image))
        nbytes += decoded_bytes(image)
        if len(chunk) == _CHUNK or nbytes > _CHUNK_BYTES:
            yield chunk
            chunk, nbytes = [], 0
    if chunk:
        yield chunk
