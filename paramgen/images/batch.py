"""A few images of a folder, as a network that takes images would see them."""

from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from paramgen.errors import OptionError, one_line
from paramgen.images.folders import folder_images, is_tar
from paramgen.images.pictures import IMAGE_SUFFIXES, MAX_FILES, fitted, is_image, ready, refuse_size
from paramgen.images.sets import decoded

MEAN: Final = (0.485, 0.456, 0.406)  # of ImageNet, as the libraries' own networks expect
STD: Final = (0.229, 0.224, 0.225)


def image_files(folder: Path) -> list[Path]:
    """Return the images in `folder` and below, sorted by path.

    Raises:
        OptionError: There is no such folder, or it has no image or too many.
    """
    if not folder.is_dir():
        raise OptionError(f"There is no folder {str(folder)!r}. Give a folder with images in it or in folders below.")
    found = []
    try:
        for path in folder.rglob("*"):
            if is_image(path) and path.is_file():
                found.append(path)
            if len(found) > MAX_FILES:
                raise OptionError(f"{folder} holds more than {MAX_FILES:,} images. Give a folder with fewer.")
    except OSError as error:
        raise OptionError(f"{folder} cannot be read: {one_line(error)}. Give a folder that you may read.") from error
    if not found:
        raise OptionError(f"{folder} holds no image. Read are: {', '.join(sorted(IMAGE_SUFFIXES))}.")
    return sorted(found)


def load_images(
    files: list[Path], shape: tuple[int, ...], generator: torch.Generator
) -> Float[Tensor, "batch channels height width"]:
    """Return a random choice of `files`, cropped and scaled to `shape` and normalized; some twice if there are few."""
    batch, channels, height, width = shape
    chosen = torch.randint(len(files), (batch,), generator=generator)
    if len(files) >= batch:
        chosen = torch.randperm(len(files), generator=generator)[:batch]
    return images_of([files[index] for index in chosen.tolist()], (channels, height, width))


def images_of(files: list[Path], shape: tuple[int, ...]) -> Float[Tensor, "batch channels height width"]:
    """Return images in the order of their files, cropped and scaled to channels, height and width, and normalized."""
    channels, height, width = shape
    ready("torchvision")
    return _normalized(torch.stack([_load(file, (channels, height, width)) for file in files]))


def labelled_images(
    path: Path, shape: tuple[int, ...]
) -> tuple[Float[Tensor, "batch channels height width"], Int64[Tensor, " batch"]]:
    """Return images of class folders, or of a tar of them, always the same ones, and their classes as numbers.

    Args:
        path: The folder or the tar.
        shape: Number of images, which may be fewer in the end, channels, height and width.

    Raises:
        OptionError: There are no class folders, or an image cannot be read.
    """
    if not path.is_dir() and not is_tar(path):
        raise OptionError(
            f"There is no folder {str(path)!r}. Give a folder that holds a folder of images for each class."
        )
    batch, channels, height, width = shape
    train, _ = decoded(folder_images(path), (channels, height, width), train=batch, test=1, folder=None)
    return _normalized(train.pixels.float() / 255), train.labels


def _normalized(pixels: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
    if pixels.shape[1] == 1:
        return (pixels - sum(MEAN) / 3) / (sum(STD) / 3)
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def _load(file: Path, shape: tuple[int, int, int]) -> Float[Tensor, "channels height width"]:
    try:
        refuse_size(str(file), file.stat().st_size)
        content = file.read_bytes()
    except OSError as error:
        raise OptionError(f"{file} cannot be read: {one_line(error)}. Remove it or mend it.") from error
    (pixels,) = fitted(content, (shape,), str(file))
    return torch.from_numpy(pixels.astype(np.float32) / 255)
