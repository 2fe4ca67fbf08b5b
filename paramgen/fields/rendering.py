"""A field becomes a picture, of its own size or of another one."""

from typing import Final

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from paramgen.errors import OptionError
from paramgen.fields import MAX_FIELD_SIDE, Field, network
from paramgen.fields.projection import projected
from paramgen.slots.init_program import one_thread

_PIXELS: Final = 1 << 14  # that are computed at a time


def in_range(pixels: UInt8[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return pixels as numbers from 0 to 1."""
    return pixels.float() / 255


def size_in_pixels(text: str, height: int, breadth: int) -> tuple[int, int]:
    """Return height and width that `640x480` (width first) or `640`, the longer side, asks of a picture.

    Raises:
        OptionError: It is neither, or beyond the limit.
    """
    parts = str(text).lower().split("x")
    numbers = [int(part) for part in parts if part.isascii() and part.isdigit() and len(part) < 6]
    if len(numbers) != len(parts) or len(parts) > 2 or not all(1 <= number <= MAX_FIELD_SIDE for number in numbers):
        raise OptionError(
            f"--size is {text!r}. Allowed: the longer side in pixels, or width and height, up to {MAX_FIELD_SIDE:,}. "
            "Type: --size 512, or --size 640x480"
        )
    if len(numbers) == 2:
        return numbers[1], numbers[0]
    longer = max(height, breadth)
    return max(1, round(height * numbers[0] / longer)), max(1, round(breadth * numbers[0] / longer))


@torch.no_grad()
def rendered(field: Field, size: tuple[int, int] | None = None) -> UInt8[Tensor, "channels height width"]:
    """Return the picture of a field; the same field and size give the same pixels."""
    design = field.design
    height, breadth = (design.height, design.breadth) if size is None else size
    picture = torch.empty(design.channels, height * breadth, dtype=torch.uint8)
    with one_thread():
        weights = projected(design, field.latent * torch.tensor(field.latent_scale))
        values = field.biases * torch.tensor(field.bias_scale)
        biases = list(values.split([rows for rows, _ in design.shapes]))
        for begin in range(0, height * breadth, _PIXELS):
            places = torch.arange(begin, min(begin + _PIXELS, height * breadth))
            colours = network(design.inputs(places, (height, breadth)), weights, biases)
            picture[:, begin : begin + len(places)] = (colours.clamp(0, 1) * 255).round().to(torch.uint8).T
    return picture.view(design.channels, height, breadth)
