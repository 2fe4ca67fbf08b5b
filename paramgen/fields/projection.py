"""The fixed random projection that makes a network's weights of a latent vector, drawn from a seed.

Each weight is a signed sum of 16 entries of the latent vector, not of all of them as in the paper: a sparse random
projection keeps distances as a dense one does (Achlioptas, 2003), and takes neither its memory nor its time. Entries
and signs are whole numbers of torch's generator, which are the same on every machine.
"""

from collections.abc import Iterator
from math import sqrt
from typing import Final, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from paramgen.fields import Design
from paramgen.slots.init_program import slot_generator

TERMS: Final = 16  # entries of the latent vector in a weight
BLOCK: Final = 16_384  # weights whose terms are drawn at a time


@final
class Projection:
    """The projection of a design, whole in memory, as training needs it again in every step."""

    def __init__(self, design: Design) -> None:
        drawn = [_block(design, layer, block) for layer, block in _blocks(design)]
        self._entries = torch.cat([entries for entries, _ in drawn]).flatten()
        self._factors = torch.cat([factors for _, factors in drawn])
        self._shapes = design.shapes

    def __call__(self, latent: Float[Tensor, " latent"]) -> list[Tensor]:
        """Return the weight of each layer."""
        terms = latent.index_select(0, self._entries).view(self._factors.shape)
        return split((terms * self._factors).sum(1), self._shapes)


def projected(design: Design, latent: Float[Tensor, " latent"]) -> list[Tensor]:
    """Return the weight of each layer, a block of the projection at a time; the same values as `Projection` makes."""
    parts = []
    for layer, block in _blocks(design):
        entries, factors = _block(design, layer, block)
        parts.append((latent.index_select(0, entries.flatten()).view(factors.shape) * factors).sum(1))
    return split(torch.cat(parts), design.shapes)


def split(values: Float[Tensor, " all"], shapes: tuple[tuple[int, int], ...]) -> list[Tensor]:
    """Return the layers' weights, which lie one behind the other."""
    parts = values.split([rows * columns for rows, columns in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def _blocks(design: Design) -> Iterator[tuple[int, int]]:
    """Yield each layer with each of its blocks."""
    for layer, (rows, columns) in enumerate(design.shapes):
        for block in range(-(-rows * columns // BLOCK)):
            yield layer, block


def _block(
    design: Design, layer: int, block: int
) -> tuple[Int64[Tensor, "weights terms"], Float[Tensor, "weights terms"]]:
    """Return which entries of the latent vector each weight of a block adds, and by which factors."""
    rows, columns = design.shapes[layer]
    count = min(BLOCK, rows * columns - block * BLOCK)
    generator = slot_generator(design.seed, f"layer {layer} block {block}", stream="projection")
    drawn = torch.randint(2 * design.latent, (count, TERMS), generator=generator)
    factor = design.stds[layer] / sqrt(TERMS)  # entries of variance 1 give weights of the layer's
    return drawn // 2, (drawn % 2 * 2 - 1) * factor
