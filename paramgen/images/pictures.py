"""One picture: which files are opened, how large they may be, and how one becomes pixels of a given size."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import PurePath
from threading import Condition
from typing import Any, Final, Literal, final

import numpy as np
from jaxtyping import UInt8

from paramgen._optional import require
from paramgen.errors import OptionError, one_line

# Pillow knows more, some of which start programs of their own.
FORMATS: Final = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
IMAGE_SUFFIXES: Final = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"))
MAX_FILES: Final = 5_000_000  # of a folder or a tar
MAX_PICTURE_BYTES: Final = 20_000_000  # of one file
MAX_PIXELS: Final = 50_000_000  # of one image: a decompression bomb stops here
MAX_DECODED: Final = 1_200_000_000  # bytes that all pictures being decoded take at one time, in all threads
_PER_PIXEL: Final = 14  # bytes, measured: decoded, turned upright and converted, of four each
_IN_THE_DECODER: Final = 8  # bytes of a pixel that a progressive JPEG and a WebP take beside that, however small made
_WRONG: Final = (OSError, ValueError, SyntaxError, EOFError)  # what Pillow's readers raise at broken files

Scaling = Literal["bicubic", "area"]
"""`area` takes the mean over what becomes one pixel; `bicubic` keeps edges sharper."""


def is_image(path: PurePath) -> bool:
    """Whether the name is that of an image that may be opened."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def refuse_size(name: str, size: int) -> None:
    """Raise an error if a file is empty or too large to be opened."""
    if not 0 < size <= MAX_PICTURE_BYTES:
        raise OptionError(f"{name} has {size:,} bytes; allowed are 1 to {MAX_PICTURE_BYTES:,}. Remove it or mend it.")


def ready(extra: str = "compare") -> None:
    """Make Pillow know its formats by name; without it, say which extra brings it."""
    require("PIL.Image", extra=extra).init()


@final
class _DecodingMemory:
    """Memory that threads share: who needs more than is left waits until others are done."""

    def __init__(self, nbytes: int) -> None:
        self._left = nbytes
        self._changed = Condition()

    @contextmanager
    def taken(self, nbytes: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: nbytes <= self._left)
            self._left -= nbytes
        try:
            yield
        finally:
            with self._changed:
                self._left += nbytes
                self._changed.notify_all()


_MEMORY: Final = _DecodingMemory(MAX_DECODED)


def decoded_bytes(image: Any) -> int:
    """Return how many bytes a picture keeps from now on: those of a file, or the pixels of what Pillow has opened."""
    return len(image) if isinstance(image, bytes) else 4 * int(image.width) * int(image.height)


def size_of(image: Any, name: str) -> tuple[int, int]:
    """Return height and width of a picture, given as bytes or by Pillow, once it is upright.

    Raises:
        OptionError: It cannot be opened.
    """
    pillow, ops = require("PIL.Image", extra="compare"), require("PIL.ImageOps", extra="compare")
    try:
        picture = pillow.open(BytesIO(image), formats=FORMATS) if isinstance(image, bytes) else image
        upright = ops.exif_transpose(picture) if picture.width * picture.height <= MAX_PIXELS else picture
    except (*_WRONG, pillow.DecompressionBombError) as error:
        raise _unreadable(name, error) from error
    return int(upright.height), int(upright.width)


def _unreadable(name: str, error: Exception) -> OptionError:
    what = f"{type(error).__name__}: {one_line(error)}".partition("<")[0].strip(" :")
    return OptionError(f"{name} is no image that can be read ({what}). Remove it or mend it.")


def fitted(
    image: Any, shapes: Sequence[tuple[int, int, int]], name: str, *, scaling: Scaling = "bicubic"
) -> list[UInt8[np.ndarray, "channels height width"]]:
    """Return a picture, given as bytes or by Pillow, at each of `shapes` (channels, height, width; 1 or 3 channels).

    It is turned upright, scaled until it covers the shape, and cropped in the middle.

    Raises:
        OptionError: It cannot be opened, or is too large.
    """
    pillow, ops = require("PIL.Image", extra="compare"), require("PIL.ImageOps", extra="compare")
    method = pillow.Resampling.BOX if scaling == "area" else pillow.Resampling.BICUBIC
    try:
        picture = pillow.open(BytesIO(image), formats=FORMATS) if isinstance(image, bytes) else image
        if picture.width * picture.height > MAX_PIXELS:
            raise OptionError(f"{name} has {picture.width}x{picture.height} pixels; allowed are {MAX_PIXELS:,}.")
        within = picture.width * picture.height * _IN_THE_DECODER
        # JPEG decodes small pictures of large ones faster; twice the size leaves the rest to the scaling.
        picture.draft("RGB", (2 * max(width for *_, width in shapes), 2 * max(height for _, height, _ in shapes)))
        with _MEMORY.taken(within + picture.width * picture.height * _PER_PIXEL):
            upright = ops.exif_transpose(picture)
            found = [
                np.asarray(ops.fit(upright.convert(_mode(channels)), (width, height), method=method), dtype=np.uint8)
                for channels, height, width in shapes
            ]
    except (*_WRONG, pillow.DecompressionBombError) as error:
        raise _unreadable(name, error) from error
    return [array[None] if array.ndim == 2 else array.transpose(2, 0, 1) for array in found]


def _mode(channels: int) -> str:
    return "L" if channels == 1 else "RGB"
