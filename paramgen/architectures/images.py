"""A few images of a folder, as a network that takes images would see them."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from paramgen._optional import require
from paramgen.errors import OptionError, one_line

SUFFIXES: Final = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp"))
MAX_FILES: Final = 1_000_000
MAX_BYTES: Final = 50_000_000  # of one file
MAX_PIXELS: Final = 100_000_000  # of one image: a decompression bomb stops here
MEAN: Final = (0.485, 0.456, 0.406)  # of ImageNet, as the libraries' own networks expect
DEVIATION: Final = (0.229, 0.224, 0.225)


def image_files(folder: Path) -> list[Path]:
    """Return the images in `folder` and below, sorted by path."""
    if not folder.is_dir():
        raise OptionError(f"There is no folder {str(folder)!r}. Give a folder with images in it or in folders below.")
    found = []
    for path in folder.rglob("*"):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            found.append(path)
        if len(found) > MAX_FILES:
            raise OptionError(f"{folder} holds more than {MAX_FILES:,} images. Give a folder with fewer.")
    if not found:
        raise OptionError(f"{folder} holds no image. Read are: {', '.join(sorted(SUFFIXES))}.")
    return sorted(found)


def load_images(
    files: list[Path], shape: tuple[int, ...], generator: torch.Generator
) -> Float[Tensor, "batch channels height width"]:
    """Return a random choice of `files`, cropped and scaled to `shape` and normalized; some twice if there are few."""
    batch, channels, height, width = shape
    chosen = torch.randint(len(files), (batch,), generator=generator)
    if len(files) >= batch:
        chosen = torch.randperm(len(files), generator=generator)[:batch]
    pixels = torch.stack([_load(files[index], channels, (width, height)) for index in chosen.tolist()])
    if channels == 1:
        return (pixels - sum(MEAN) / 3) / (sum(DEVIATION) / 3)
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)


def _load(file: Path, channels: int, size: tuple[int, int]) -> Float[Tensor, "channels height width"]:
    pillow: Any = require("PIL.Image", extra="torchvision")
    operations: Any = require("PIL.ImageOps", extra="torchvision")
    try:
        if file.stat().st_size > MAX_BYTES:
            raise OptionError(f"{file} is larger than {MAX_BYTES:,} bytes. Take it out of the folder.")
        with pillow.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise OptionError(f"{file} has more than {MAX_PIXELS:,} pixels. Take it out of the folder.")
            fitted = operations.fit(image.convert("L" if channels == 1 else "RGB"), size, pillow.Resampling.BICUBIC)
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise OptionError(
            f"{file} cannot be read as an image: {one_line(error)}. Take it out of the folder."
        ) from error
    values = torch.from_numpy(np.array(fitted, dtype=np.float32) / 255)
    return values.view(*values.shape[:2], channels).permute(2, 0, 1)
