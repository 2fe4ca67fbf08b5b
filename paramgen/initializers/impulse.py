"""Attention heads that begin as convolutions, each one position aside (Zheng et al., 2025, arXiv:2505.19985)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import layer_norm

from paramgen.architectures import Architecture
from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.attention import Attention, Share, attentions_of
from paramgen.graphs.analysis.positions import grids_of
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, initializers, is_scale
from paramgen.initializers.library import complete_rules, default_weights, fill_by_rules
from paramgen.slots.init_program import one_thread, slot_generator
from paramgen.slots.manifest import Slot

IMPULSE: Final = "impulse"
MAX_POSITIONS: Final = 4096
"""A grid of more positions has no pseudo-inverse made for it."""
LEAST_DIRECTION: Final = 1e-2
"""Directions of the position table with a smaller singular value, as a share of the largest one, are left out."""


@final
@initializers.register(IMPULSE)
@dataclass(frozen=True, kw_only=True)
class Impulse(Initializer):
    """Queries and keys by which each head of a vision transformer attends one step aside (Zheng et al., 2025).

    With normalized positions P and the shift H of a head, W_q W_k^T is the best product of the head's rank for
    P W_q W_k^T P^T = H, by pseudo-inverse and singular values. The position table is normal, of a std that outweighs
    the patches. Heads take the shifts of the kernel in turn. Values and projections stay the library's.
    """

    group: ClassVar[str] = "formulas"
    applies_to: ClassVar[str] = "queries and keys of vision transformers, and their position table"

    kernel: int = 3  # heads take the shifts of a kernel of so many by so many positions
    scale: float | int = 10.0  # how much larger, on average, the score of the position that a head attends to is
    std: float | int = 1.0  # of the position table

    def __post_init__(self) -> None:
        if type(self.kernel) is not int or not (1 <= self.kernel <= 15 and self.kernel % 2):
            raise OptionError(
                f"kernel is {one_line(repr(self.kernel))}. Allowed: an odd number from 1 to 15. "
                "Type: --init 'impulse?kernel=3'"
            )
        for name, example in (("scale", 10.0), ("std", 1.0)):
            value = getattr(self, name)
            if not is_scale(value) or value <= 0:
                raise OptionError(
                    f"{name} is {one_line(repr(value))}. Allowed: a number above 0, up to 1,000. "
                    f"Type: --init 'impulse?{name}={example}'"
                )

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return what a network lacks that the formula needs."""
        manifest = architecture.manifest
        tables = grids_of(graph, manifest)
        if len(tables) != 1:
            return f"it has {len(tables)} position tables over the grid of an image, not one. Type: --init mimetic"
        ((name, ((rows, columns), _)),) = tables.items()
        if rows * columns > MAX_POSITIONS:
            return f"its grid has more than {MAX_POSITIONS:,} positions. Type: --init mimetic"
        if not self._groups(architecture, graph):
            width = manifest[name].shape[-1]
            return f"it has no self-attention of the position table's width {width}. Type: --init mimetic"
        return None

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `impulse` for queries, keys and the position table, the library's rule elsewhere."""
        if self.hindrance(architecture, graph) is not None:
            return complete_rules(architecture, {})
        slots = (slot for group in self._groups(architecture, graph) for slot in _slots(group))
        return complete_rules(architecture, dict.fromkeys((*slots, *grids_of(graph, architecture.manifest)), IMPULSE))

    def builds_on(self, architecture: Architecture, graph: Graph) -> frozenset[str]:
        """Return packed weights, whose values keep the library's."""
        groups = self._groups(architecture, graph)
        return frozenset(slot for group in groups if group.query.slot == group.key.slot for slot in _slots(group))

    @torch.no_grad()
    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Make the queries and keys of one attention together."""
        manifest = architecture.manifest
        rules = self.rules(architecture, graph)
        tables = grids_of(graph, manifest)
        groups = list(enumerate(self._groups(architecture, graph)))
        of_slot = {slot: (number, group) for number, group in groups for slot in _slots(group)}
        waiting: dict[str, Tensor] = {}

        def make(slot: Slot) -> Tensor:
            if slot.name in tables:
                return self._table(slot, seed).to(slot.dtype)
            if slot.name not in waiting:
                number, group = of_slot[slot.name]
                ((name, (grid, prefix)),) = tables.items()
                waiting.update({each: default_weights(manifest[each], seed) for each in _slots(group)})
                self._fill(group, waiting, _Positions(self._table(manifest[name], seed), grid, prefix), number)
            return waiting.pop(slot.name)

        return fill_by_rules(architecture, rules, make, seed=seed)

    def _table(self, slot: Slot, seed: int) -> Tensor:
        return torch.empty(slot.shape).normal_(0.0, float(self.std), generator=slot_generator(seed, slot.name))

    def _groups(self, architecture: Architecture, graph: Graph) -> list[Attention]:
        manifest = architecture.manifest
        widths = {manifest[name].shape[-1] for name in grids_of(graph, manifest)}
        return [group for group in attentions_of(graph, manifest) if group.width in widths]

    @one_thread()
    def _fill(self, group: Attention, weights: Mapping[str, Tensor], positions: "_Positions", number: int) -> None:
        """Write queries and keys; heads that share their keys share the shift."""
        shared = group.heads // len(group.key.rows)
        for head in range(group.heads):
            shift = (number * len(group.key.rows) + head // shared) % self.kernel**2
            row, column = divmod(shift, self.kernel)
            middle = self.kernel // 2
            product = positions.product(row - middle, column - middle)
            left, values, right = torch.linalg.svd(product)
            left, root, right = (
                left[:, : group.head_width],
                values[: group.head_width].sqrt(),
                right[: group.head_width].T,
            )
            found = positions.score((left * root) @ (right * root).T, row - middle, column - middle)
            # The network divides scores by the root of the head's width.
            root = root * (float(self.scale) * group.head_width**0.5 / max(found, 1e-6)) ** 0.5
            _write(weights, group.query, head, (left * root).T)
            if head % shared == 0:
                _write(weights, group.key, head // shared, (right * root).T)


class _Positions:
    """What attention sees of a position table: rows of mean 0 and variance 1, one for each position of the grid."""

    def __init__(self, table: Tensor, grid: tuple[int, int], prefix: int) -> None:
        self.grid = grid
        rows = table.reshape(-1, table.shape[-1])[prefix:]
        self.rows: Float[Tensor, "positions width"] = layer_norm(rows, rows.shape[-1:])
        self.inverse: Float[Tensor, "width positions"] = torch.linalg.pinv(self.rows, rtol=LEAST_DIRECTION)

    def product(self, down: int, right: int) -> Float[Tensor, "width width"]:
        """Return the matrix whose scores between positions are nearest to a shift."""
        wanted = shift(self.grid, down, right)
        return self.inverse @ (wanted - wanted.mean()) @ self.inverse.T

    def score(self, product: Float[Tensor, "width width"], down: int, right: int) -> float:
        """Return how much larger the score of the position looked at is, on average over positions."""
        scores, wanted = self.rows @ product @ self.rows.T, shift(self.grid, down, right)
        return float((scores * wanted).sum(1).mean() - scores.mean())


@lru_cache(maxsize=32)
def shift(grid: tuple[int, int], down: int, right: int) -> Float[Tensor, "positions positions"]:
    """Return the attention in which each position looks so many steps aside, and at the border no further than that."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    target = (rows + down).clamp(0, grid[0] - 1) * grid[1] + (columns + right).clamp(0, grid[1] - 1)
    wanted = torch.zeros(grid[0] * grid[1], grid[0] * grid[1])
    wanted[torch.arange(len(wanted)), target.flatten()] = 1.0
    return wanted


def _slots(group: Attention) -> tuple[str, ...]:
    return tuple(dict.fromkeys((group.query.slot, group.key.slot)))


def _write(weights: Mapping[str, Tensor], share: Share, head: int, rows: Float[Tensor, "out in"]) -> None:
    target = weights[share.slot].T if share.in_out else weights[share.slot]
    target[share.rows[head] : share.rows[head] + len(rows)] = rows.to(target.dtype)
