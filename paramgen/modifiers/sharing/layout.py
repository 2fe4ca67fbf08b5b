"""Which entry of a shared memory each weight has, and with which sign: computed from a seed, never stored.

The map is that of STABLE-RPS (Desai & Shrivastava, 2024, arXiv:2310.11611).
"""

from dataclasses import dataclass
from math import prod
from typing import final

import torch
from jaxtyping import Int, Int8
from torch import Tensor

from paramgen.modifiers.constraints import Shapes
from paramgen.slots.init_program import slot_generator


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A seeded map of all weights, one slot behind the other and cut into chunks, to the chunks of a memory.

    The first chunks have those of the memory in their order; each further run of as many chunks has a random
    permutation of them. So every entry is used equally often, or once more, and a memory as large as the weights is
    used in order: the map is the identity.

    Args:
        seed: Of the prediction.
        entries: Of the memory, a multiple of `chunk`.
        chunk: Neighbouring weights that have neighbouring entries.
        shapes: Of the weights, by slot, in order.

    """

    seed: int
    entries: int
    chunk: int
    shapes: Shapes

    @property
    def weights(self) -> int:
        """How many weights there are."""
        return sum(map(prod, self.shapes.values()))

    @property
    def load(self) -> float:
        """How many weights an entry has, on average; at least 1."""
        return max(1.0, self.weights / self.entries)

    def index(self) -> Int[Tensor, " weights"]:
        """Return the entry of each weight."""
        chunks, size = -(-self.weights // self.chunk), self.entries // self.chunk
        rows = -(-chunks // size)
        order = torch.arange(size, dtype=torch.int32 if self.entries < 2**31 else torch.int64)[None]
        if rows > 1:
            numbers = torch.rand(rows - 1, size, generator=self._generator("index"))
            order = torch.cat([order, numbers.argsort(dim=1, stable=True).to(order.dtype)])
        first = order.flatten()[:chunks, None] * self.chunk
        return (first + torch.arange(self.chunk, dtype=order.dtype)).flatten()[: self.weights]

    def signs(self) -> Int8[Tensor, " weights"]:
        """Return 1 or -1 for each weight."""
        return torch.randint(2, (self.weights,), generator=self._generator("signs"), dtype=torch.int8) * 2 - 1

    def by_slot(self, flat: Tensor) -> dict[str, Tensor]:
        """Return the parts of what there is for each weight, by slot, not yet in their shapes."""
        sizes = [prod(shape) for shape in self.shapes.values()]
        return dict(zip(self.shapes, flat.split(sizes), strict=True))

    def _generator(self, stream: str) -> torch.Generator:
        return slot_generator(self.seed, "", stream=f"share:{stream}")
