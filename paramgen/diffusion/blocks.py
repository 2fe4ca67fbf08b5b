"""Convert named tensors to blocks of equal width, each with a position, and back (Gong et al., 2024, arXiv:2407.11966).

Every tensor is flattened and cut into blocks of one width, its last block filled up with zeros. Cutting and joining
move values and change none: what comes back is bit for bit what went in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Final, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.errors import PipelineError

MAX_SLOTS: Final = 10_000
MAX_DENOISED_ELEMENTS: Final = 50_000_000
MAX_BLOCKS: Final = 65_536
MAX_WIDTH: Final = 16_384


@final
@dataclass(frozen=True)
class BlockLayout:
    """Which tensors there are, in their order, and how wide a block is."""

    slots: Mapping[str, tuple[int, ...]]
    width: int

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_WIDTH:
            raise PipelineError(f"A block is {self.width} wide; allowed are 1 to {MAX_WIDTH:,}.")
        if not 1 <= len(self.slots) <= MAX_SLOTS:
            raise PipelineError(f"A layout has {len(self.slots):,} tensors; allowed are 1 to {MAX_SLOTS:,}.")
        negative = next((name for name, shape in self.slots.items() if min(shape, default=1) < 1), None)
        if negative is not None:
            raise PipelineError(f"{negative!r} has the shape {self.slots[negative]}; every side must be 1 or more.")
        if self.elements > MAX_DENOISED_ELEMENTS or self.count > MAX_BLOCKS:
            raise PipelineError(
                f"A layout has {self.elements:,} values in {self.count:,} blocks; allowed are "
                f"{MAX_DENOISED_ELEMENTS:,} in {MAX_BLOCKS:,}. Take wider blocks, or fewer tensors."
            )

    @cached_property
    def elements(self) -> int:
        """Number of values, without the padding."""
        return sum(map(prod, self.slots.values()))

    @cached_property
    def count(self) -> int:
        """Number of blocks."""
        return sum(-(-prod(shape) // self.width) for shape in self.slots.values())

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """The index of the tensor that each block belongs to."""
        counts = (-(-prod(shape) // self.width) for shape in self.slots.values())
        return tuple(slot for slot, count in enumerate(counts) for _ in range(count))

    @cached_property
    def kinds(self) -> tuple[int, ...]:
        """The kind of each block: the index of the last part of its tensor's name, such as `weight` or `lora_A`."""
        words = [name.rpartition(".")[2] for name in self.slots]
        known = sorted(set(words))
        return tuple(known.index(words[layer]) for layer in self.layers)

    def cut(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "blocks width"]:
        """Return the blocks of exactly the tensors of the layout.

        Raises:
            PipelineError: A tensor is missing, unknown or of another shape.

        """
        self.check({name: tuple(tensor.shape) for name, tensor in tensors.items()})
        parts = []
        for name in self.slots:
            flat = tensors[name].reshape(-1)
            parts += [flat, flat.new_zeros(-flat.numel() % self.width)]
        return torch.cat(parts).view(-1, self.width)

    def join(self, blocks: Float[Tensor, "blocks width"]) -> dict[str, Tensor]:
        """Return the tensors of blocks: the inverse of `cut`."""
        if tuple(blocks.shape) != (self.count, self.width):
            raise PipelineError(
                f"Blocks are of shape {tuple(blocks.shape)}; the layout has {(self.count, self.width)}."
            )
        flat, begin = blocks.reshape(-1), 0
        tensors = {}
        for name, shape in self.slots.items():
            count = prod(shape)
            tensors[name] = flat[begin : begin + count].reshape(shape)
            begin += -(-count // self.width) * self.width
        return tensors

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise an error that names the first difference between `shapes` and the layout."""
        difference = difference_of(shapes, self.slots)
        if difference:
            raise PipelineError(f"The tensors are not those of the layout: {difference}.")

    def to_json(self) -> dict[str, Any]:
        """Return the layout as JSON; the inverse is the constructor."""
        return {"slots": {name: list(shape) for name, shape in self.slots.items()}, "width": self.width}


def difference_of(given: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> str:
    """Return the first difference in names or shapes of two sets of tensors; "" if there is none."""
    missing, unknown = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    if missing:
        return f"{missing[0]!r} is missing" + (f", and {len(missing) - 1} more" if missing[1:] else "")
    if unknown:
        return f"{unknown[0]!r} is unknown" + (f", and {len(unknown) - 1} more" if unknown[1:] else "")
    other = next((name for name, shape in wanted.items() if tuple(given[name]) != tuple(shape)), None)
    return "" if other is None else f"{other!r} has the shape {tuple(given[other])} instead of {tuple(wanted[other])}"
