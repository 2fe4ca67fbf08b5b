"""Low-rank updates of a shared base: weight = base + (alpha / rank) B A (Hu et al., 2021, arXiv:2106.09685, §4.1).

A convolution's weight is a matrix of its outputs by all it reads: channels, rows and columns.
"""

from collections.abc import Iterable, Mapping
from math import prod, sqrt
from typing import Final

import torch
from torch import Tensor

from paramgen.errors import ZooError
from paramgen.slots.init_program import slot_generator
from paramgen.zoo.layout import ZooLayout

LEFT: Final = ".lora_B"  # (out, rank)
RIGHT: Final = ".lora_A"  # (rank, in * kh * kw)


def restore(base: Mapping[str, Tensor], tensors: Mapping[str, Tensor], *, scale: float) -> dict[str, Tensor]:
    """Return a whole state dict: `base` plus the low-rank updates, with the other trained slots replaced.

    A factor A that `tensors` lacks is the base's, which all checkpoints share. Factors and slots may have further
    leading axes, the same for all: what is returned for them has these axes, too.
    """
    found = {name: tensor for name, tensor in base.items() if not name.endswith(RIGHT)}
    for name, tensor in tensors.items():
        if name.endswith(LEFT):
            slot = name.removesuffix(LEFT)
            right = tensors[slot + RIGHT] if slot + RIGHT in tensors else base[slot + RIGHT]
            change = scale * (tensor @ right)
            found[slot] = base[slot] + change.reshape(*tensor.shape[:-2], *base[slot].shape)
        elif not name.endswith(RIGHT):
            found[name] = tensor
    return found


def shapes(layout: ZooLayout, base: Mapping[str, torch.Size]) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor that a checkpoint of this layout has, in the base's order."""
    if layout.form == "full":
        return {name: tuple(shape) for name, shape in base.items()}
    unknown = sorted({*layout.targets, *layout.trained} - set(base))
    if unknown:
        raise ZooError(f"zoo.json names the slot {unknown[0][:100]!r}, which the base lacks. Get the zoo again.")
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in base.items():
        if name in layout.targets:
            right = (layout.rank, prod(shape[1:]))
            if tuple(base.get(name + RIGHT, right)) != right:
                raise ZooError(f"The base's {name + RIGHT!r} is {tuple(base[name + RIGHT])}; it must be {right}.")
            if name + RIGHT not in base:
                found[name + RIGHT] = right
            found[name + LEFT] = (shape[0], layout.rank)
        elif name in layout.trained:
            found[name] = tuple(shape)
    return found


def first_factors(base: Mapping[str, Tensor], targets: Iterable[str], *, rank: int, seed: int) -> dict[str, Tensor]:
    """Return the initial factors, the same for every task so that updates can be compared: A random, B zero."""
    found = {}
    for name in targets:
        matrix = base[name].flatten(1)
        drawn = torch.randn(rank, matrix.shape[1], generator=slot_generator(seed, name)) / sqrt(matrix.shape[1])
        found[name + RIGHT] = drawn
        found[name + LEFT] = torch.zeros(matrix.shape[0], rank)
    return found
