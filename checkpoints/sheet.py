"""Draw a contact sheet of pictures: a row for each task, a column for each initialization."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from checkpoints.pictures import picture

MAGNIFIED: Final = 4
_GAP, _HEAD, _SIDE = 8, 44, 250


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SheetRow:
    """One row: the words, and for each column a picture with values from -1 to 1."""

    text: str
    cells: Mapping[str, Float[Tensor, "3 height width"]]


def sheet(lines: Sequence[SheetRow], columns: Sequence[str]) -> Image.Image:
    """Return the sheet; a missing cell is grey."""
    height, width = next(iter(lines[0].cells.values())).shape[1:]
    cell = (MAGNIFIED * width, MAGNIFIED * height)
    size = (_SIDE + len(columns) * (cell[0] + _GAP), _HEAD + len(lines) * (cell[1] + _GAP))
    found = Image.new("RGB", size, "white")
    canvas, font = ImageDraw.Draw(found), ImageFont.load_default(13)
    for index, column in enumerate(columns):
        head = "\n".join(_wrapped(column, cell[0], font))
        canvas.multiline_text((_SIDE + index * (cell[0] + _GAP), 4), head, fill="black", font=font)
    for number, line in enumerate(lines):
        top = _HEAD + number * (cell[1] + _GAP)
        canvas.multiline_text((6, top + 6), "\n".join(_wrapped(line.text, _SIDE - 12, font)), fill="black", font=font)
        for index, column in enumerate(columns):
            left = _SIDE + index * (cell[0] + _GAP)
            shown = line.cells.get(column)
            drawn = Image.new("RGB", cell, "#dddddd") if shown is None else shown_large(shown, cell)
            found.paste(drawn, (left, top))
    return found


def shown_large(values: Float[Tensor, "3 height width"], size: tuple[int, int]) -> Image.Image:
    """Return one picture, magnified without smoothing."""
    pixels = ((values.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return picture(pixels).resize(size, Image.Resampling.NEAREST)


def _wrapped(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Break a text between words so that its lines fit."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
