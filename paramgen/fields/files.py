"""Pictures in and out: a picture's file becomes a field's, and a field's file a PNG."""

from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final, final

import torch
from jaxtyping import UInt8
from torch import Tensor

from paramgen._optional import require
from paramgen.errors import OptionError, one_line
from paramgen.fields import MAX_FIELD_SIDE, Design
from paramgen.fields.fitting import Report, fit
from paramgen.fields.rendering import rendered, size_in_pixels
from paramgen.fields.storage import field_bytes, read_field
from paramgen.images.pictures import fitted, ready, refuse_size, size_of
from paramgen.storage.folder import write_bytes
from paramgen.storage.regular import refuse_irregular

FREQUENCIES: Final = 4  # of the coordinates, beside the coordinates themselves
_EXTRA: Final = "compare"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FittedField:
    """A field that was written: how large it is, and how near to its picture."""

    file: Path
    psnr: float  # in decibels, of the picture as it is rendered
    nbytes: int  # of the file
    pixel_bytes: int  # of the picture, a byte for each colour of each pixel
    width: int  # of the picture, in pixels
    height: int

    def to_json(self) -> dict[str, Any]:
        """Return what the command prints."""
        found = {**asdict(self), "file": str(self.file), "psnr": round(self.psnr, 2)}
        return {"bytes" if name == "nbytes" else name: value for name, value in found.items()}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedField:
    """A picture that was written."""

    file: Path
    width: int
    height: int

    def to_json(self) -> dict[str, Any]:
        """Return what the command prints."""
        return {**asdict(self), "file": str(self.file)}


def fit_file(
    image: Path,
    file: Path,
    *,
    latent: int,
    width: int | None,
    layers: int,
    steps: int,
    size: str | None,
    seed: int,
    overwrite: bool,
    report: Report | None,
) -> FittedField:
    """Fit a field to a picture's file and write it; nothing is written where anything is refused."""
    _refuse(file, overwrite)
    picture = _picture(image, size)
    channels, height, breadth = picture.shape
    design = Design.of(
        latent=latent,
        width=width,
        layers=layers,
        frequencies=FREQUENCIES,
        seed=seed,
        height=height,
        breadth=breadth,
        channels=channels,
    )
    found = fit(picture, design, steps, report)
    content = field_bytes(found.field)
    write_bytes(file, content)
    return FittedField(
        file=file,
        psnr=found.psnr,
        nbytes=len(content),
        pixel_bytes=picture.numel(),
        width=breadth,
        height=height,
    )


def render_file(file: Path, out: Path, *, size: str | None, overwrite: bool) -> RenderedField:
    """Write the picture of a field's file as a PNG."""
    if out.suffix.lower() != ".png":
        raise OptionError(f"{str(out)!r} has the ending {out.suffix!r}. Allowed for a picture: .png")
    _refuse(out, overwrite)
    ready(_EXTRA)
    field = read_field(file)
    design = field.design
    pixels = rendered(field, None if size is None else size_in_pixels(size, design.height, design.breadth))
    write_bytes(out, png(pixels))
    return RenderedField(file=out, width=pixels.shape[2], height=pixels.shape[1])


def png(pixels: UInt8[Tensor, "channels height width"]) -> bytes:
    """Return a picture as the bytes of a PNG."""
    array = pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).contiguous().numpy()
    written = BytesIO()
    require("PIL.Image", extra=_EXTRA).fromarray(array).save(written, "PNG")
    return written.getvalue()


def _picture(image: Path, size: str | None) -> UInt8[Tensor, "channels height width"]:
    """Return the pixels of a picture's file, upright, of its own size or scaled; grey ones have one channel."""
    advice = "Type a picture, such as a JPEG or a PNG"
    ready(_EXTRA)
    refuse_irregular(image, OptionError, advice)
    if not image.is_file():
        raise OptionError(f"There is no picture {str(image)!r}. {advice}")
    refuse_size(str(image), image.stat().st_size)
    try:
        content = image.read_bytes()
    except OSError as error:
        raise OptionError(f"{image} cannot be read: {one_line(error)}. {advice}") from error
    height, breadth = size_of(content, str(image))
    if size is None and max(height, breadth) > MAX_FIELD_SIDE:
        raise OptionError(
            f"{image} has {breadth}x{height} pixels; a side has at most {MAX_FIELD_SIDE:,}. Type: --size 2048"
        )
    if size is not None:
        height, breadth = size_in_pixels(size, height, breadth)
    (found,) = fitted(content, [(3, height, breadth)], str(image))
    pixels = torch.from_numpy(found.copy())
    grey = bool((pixels[0] == pixels[1]).all() and (pixels[1] == pixels[2]).all())
    return pixels[:1] if grey else pixels


def _refuse(file: Path, overwrite: bool) -> None:
    if file.exists() and (not overwrite or not file.is_file()):
        raise OptionError(f"{str(file)!r} exists. Type another name, or add --overwrite")
