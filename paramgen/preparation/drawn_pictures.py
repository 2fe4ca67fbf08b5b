"""Pictures that formulas draw, with the class of each: fractals of iterated maps, and polygons and stars.

Fractals are those of iterated function systems, a system for each class (Kataoka et al., 2020, arXiv:2101.08515).
"""

from math import pi
from typing import Final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from paramgen.slots.init_program import slot_generator

FRACTALS: Final = 32
"""Classes of fractals, a system each."""

_CORNERS: Final = range(3, 11)
_INNER: Final = (1.0, 0.45)  # how far the points between corners lie inwards: polygons and stars
_FILLS: Final = 2  # filled, or an outline
SHAPES: Final = len(_CORNERS) * len(_INNER) * _FILLS
"""Classes of shapes."""

_MAPS: Final = 4
_ORBITS, _ITERATIONS, _FORGOTTEN = 256, 30, 8  # points that run side by side, how far, and before any is drawn
_JITTER: Final = 0.08  # by how much the maps of two pictures of a class differ

Pictures = tuple[Float[Tensor, "batch channels height width"], Int64[Tensor, " batch"]]
"""Values from -2 to 2, as normalized photographs have them, and classes from 0 on."""


def fractals(
    labels: Int64[Tensor, " batch"], shape: tuple[int, int, int], seed: int, generator: torch.Generator
) -> Float[Tensor, "batch channels height width"]:
    """Return a fractal for each label: `seed` decides the systems, the generator all that differs within a class."""
    if not len(labels):
        return torch.empty(0, *shape)
    systems = {label: _system(label, seed) for label in labels.tolist()}
    matrices = torch.stack([systems[label][0] for label in labels.tolist()])  # (batch, maps, 2, 2)
    shifts = torch.stack([systems[label][1] for label in labels.tolist()])  # (batch, maps, 2)
    count, (_, height, width) = len(labels), shape
    matrices = matrices * (1 + _JITTER * torch.randn(matrices.shape, generator=generator))
    points = torch.zeros(count, _ORBITS, 2)
    drawn = []
    row = torch.arange(count)[:, None]
    for step in range(_ITERATIONS):
        chosen = torch.randint(_MAPS, (count, _ORBITS), generator=generator)
        points = (matrices[row, chosen] @ points[..., None])[..., 0] + shifts[row, chosen]
        if step >= _FORGOTTEN:
            drawn.append(points)
    turn = 2 * pi * torch.rand(count, generator=generator)
    rotation = torch.stack((turn.cos(), -turn.sin(), turn.sin(), turn.cos()), 1).view(-1, 2, 2)
    cloud = torch.cat(drawn, 1) @ rotation
    low, high = cloud.amin(1, keepdim=True), cloud.amax(1, keepdim=True)
    cloud = ((cloud - low) / (high - low).clamp_min(1e-6)).nan_to_num(0.5).clamp(0, 1)
    place = (cloud[..., 1] * (height - 1)).long() * width + (cloud[..., 0] * (width - 1)).long()
    hits = torch.zeros(count, height * width).scatter_add_(1, place, torch.ones(place.shape))
    light = hits.log1p()
    light = light / light.amax(1, keepdim=True).clamp_min(1e-6)
    return _coloured(light.view(count, height, width), shape[0], generator)


def _system(label: int, seed: int) -> tuple[Float[Tensor, "maps 2 2"], Float[Tensor, "maps 2"]]:
    """Return the maps of a class: rotations, squeezed to 0.3 to 0.8 of the size, and shifts."""
    generator = slot_generator(seed, f"system {label}", stream="fractals")
    turns = 2 * pi * torch.rand(2, _MAPS, generator=generator)
    sizes = 0.3 + 0.5 * torch.rand(_MAPS, 2, generator=generator)
    first, second = (torch.stack((t.cos(), -t.sin(), t.sin(), t.cos()), 1).view(-1, 2, 2) for t in turns)
    return first @ torch.diag_embed(sizes) @ second, 2 * torch.rand(_MAPS, 2, generator=generator) - 1


def shapes(
    labels: Int64[Tensor, " batch"], shape: tuple[int, int, int], generator: torch.Generator
) -> Float[Tensor, "batch channels height width"]:
    """Return a polygon or star for each label, filled or as an outline, somewhere, turned, of some size."""
    count, (_, height, width) = len(labels), shape

    def between(least: float | int, most: float) -> Float[Tensor, "batch 1 1"]:
        return least + (most - least) * torch.rand(count, 1, 1, generator=generator)

    corners = torch.tensor(list(_CORNERS))[labels % len(_CORNERS)].view(-1, 1, 1)
    inner = torch.tensor(_INNER)[labels // len(_CORNERS) % len(_INNER)].view(-1, 1, 1)
    outline = (labels // (len(_CORNERS) * len(_INNER)) > 0).view(-1, 1, 1)
    down, across = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    down, across = down - between(-0.35, 0.35), across - between(-0.35, 0.35)
    sector = 2 * pi / corners
    angle = (torch.atan2(down, across) + between(0, 2 * pi)).remainder(sector) - sector / 2
    polygon = (pi / corners).cos() / angle.cos()  # the edge of a polygon whose corners lie at distance 1
    star = 1 - (1 - inner) * (1 - 2 * angle.abs() / sector)
    edge = torch.where(inner == 1, polygon, star) * between(0.3, 0.65)
    distance = (down.square() + across.square()).sqrt()
    inside = ((edge - distance) * min(height, width) / 2 + 0.5).clamp(0, 1)
    hollow = ((0.65 * edge - distance) * min(height, width) / 2 + 0.5).clamp(0, 1)
    return _coloured(torch.where(outline, inside - hollow, inside), shape[0], generator)


def _coloured(
    light: Float[Tensor, "batch height width"], channels: int, generator: torch.Generator
) -> Float[Tensor, "batch channels height width"]:
    """Paint light in one colour on a ground of another, with some noise."""
    count = len(light)
    ground = 2 * torch.rand(count, channels, 1, 1, generator=generator) - 1
    colour = ground + (0.6 + 0.8 * torch.rand(count, channels, 1, 1, generator=generator)) * -ground.sign()
    mixed = ground + (colour - ground) * light[:, None]
    return 1.5 * mixed + 0.1 * torch.randn(count, channels, *light.shape[1:], generator=generator)
