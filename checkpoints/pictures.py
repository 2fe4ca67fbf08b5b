"""The pictures of a translation zoo: a user's photographs or generated scenes, and their edits."""

import random
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from checkpoints.networks import SIZE
from checkpoints.tasks import EditTask
from paramgen.errors import OptionError
from paramgen.images.folders import folder_images
from paramgen.images.sets import decode

DRAWN: Final = "drawn"
"""The value of --data that stands for generated scenes."""

_SHAPES: Final = (4, 9)  # at least and at most, of one scene
_LARGE: Final = 4  # a scene is drawn so many times larger, and scaled down


def pictures(data: str, count: int) -> UInt8[Tensor, "batch 3 height width"]:
    """Return `count` pictures, always the same of the same data: drawn scenes, or those of a folder or a tar."""
    if data == DRAWN:
        return torch.stack([tensor(scene(number)) for number in range(count)])
    path = Path(data)
    if not path.exists():
        raise OptionError(f"--data {data} does not exist. Type a folder or a tar of pictures, or --data {DRAWN}.")
    found = folder_images(path)
    order = torch.randperm(len(found.train.labels), generator=torch.Generator().manual_seed(0))[:count]
    if len(order) < count:
        raise OptionError(f"--data {data} has {len(order)} pictures for training; this recipe takes {count}.")
    ascending = sorted(order.tolist())
    array = decode(found.train, ascending, [(3, SIZE, SIZE)], found.name)[0]
    rank = {index: rank for rank, index in enumerate(ascending)}
    return torch.from_numpy(array)[[rank[index] for index in order.tolist()]]


def edited(task: EditTask, given: UInt8[Tensor, "batch 3 height width"]) -> UInt8[Tensor, "batch 3 height width"]:
    """Return the edit of each picture."""
    return torch.stack([tensor(task.apply(picture(each))) for each in given])


def picture(pixels: UInt8[Tensor, "3 height width"]) -> Image.Image:
    """Return pixels as an image of Pillow."""
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def tensor(given: Image.Image) -> UInt8[Tensor, "3 height width"]:
    """Return a picture's pixels."""
    return torch.from_numpy(np.array(given.convert("RGB"))).permute(2, 0, 1).contiguous()


def scene(number: int) -> Image.Image:
    """Draw one scene: a sky of two colours, shapes before it, some of them soft, and a grain over all."""
    draw = random.Random(f"scene {number}")
    size = (_LARGE * SIZE, _LARGE * SIZE)
    sky = Image.linear_gradient("L").resize(size).rotate(draw.choice((0, 90, 180, 270)))
    found = Image.composite(Image.new("RGB", size, _colour(draw)), Image.new("RGB", size, _colour(draw)), sky)
    for _ in range(draw.randint(*_SHAPES)):
        mask = Image.new("L", size)
        _shape(ImageDraw.Draw(mask), draw, size[0])
        if draw.random() < 0.4:
            mask = mask.filter(ImageFilter.GaussianBlur(draw.uniform(1, 5)))
        found.paste(Image.new("RGB", size, _colour(draw)), mask=mask)
    grain = np.random.default_rng(number).normal(0, draw.uniform(0, 18), (SIZE, SIZE, 1))
    small = np.asarray(found.resize((SIZE, SIZE), Image.Resampling.BOX), dtype=np.float64)
    return Image.fromarray((small + grain).clip(0, 255).astype(np.uint8))


def _colour(draw: random.Random) -> tuple[int, int, int]:
    return draw.randint(0, 255), draw.randint(0, 255), draw.randint(0, 255)


def _shape(canvas: ImageDraw.ImageDraw, draw: random.Random, size: int) -> None:
    """Draw a disc, a box, a triangle or stripes somewhere."""
    left, top = draw.randint(-size // 8, size - 8), draw.randint(-size // 8, size - 8)
    right, bottom = left + draw.randint(size // 8, size), top + draw.randint(size // 8, size)
    kind = draw.choice(("disc", "box", "triangle", "stripes"))
    if kind == "disc":
        canvas.ellipse((left, top, right, bottom), fill=255)
    elif kind == "box":
        canvas.rectangle((left, top, right, bottom), fill=255)
    elif kind == "triangle":
        canvas.polygon([(left, bottom), (right, bottom), (draw.randint(left, right), top)], fill=255)
    else:
        gap = draw.randint(6, 20)
        for begin in range(top, bottom, gap):
            canvas.rectangle((left, begin, right, begin + gap // 2), fill=255)
