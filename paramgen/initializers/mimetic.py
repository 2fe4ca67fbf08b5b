"""Attention whose products look like those of trained networks (Trockman & Kolter, 2023, arXiv:2305.09828)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError
from paramgen.graphs.analysis.attention import Attention, Share, attentions_of
from paramgen.graphs.analysis.positions import grids_of, sinusoids
from paramgen.graphs.analysis.residual import CLOSINGS, residual_branches
from paramgen.graphs.analysis.roles import linear_maps_of
from paramgen.graphs.schema import Graph
from paramgen.initializers import MAX_SCALE, Initializer, NamedTensors, check_number, initializers
from paramgen.initializers.library import complete_rules, default_weights, fill_by_rules
from paramgen.initializers.linear_maps import std_of
from paramgen.slots.init_program import one_thread, slot_generator
from paramgen.slots.manifest import Slot

MIMETIC, MLP_MEAN = "mimetic", "mimetic mean"


@final
@initializers.register("mimetic")
@dataclass(frozen=True, kw_only=True)
class Mimetic(Initializer):
    """Attention products near the identity (Trockman & Kolter, 2023); sinusoids as a vision transformer's positions.

    The numbers are the paper's for vision transformers; in the trained GPT-2 that it shows, both signs are
    reversed (`beta1=-0.7`, `beta2=-0.4`). Each head costs the singular values of a matrix as wide as the network.
    """

    group: ClassVar[str] = "formulas"
    applies_to: ClassVar[str] = "self-attention, and position tables of vision transformers"

    alpha1: float | int = 0.7  # of the noise in W_q W_k^T
    beta1: float | int = 0.7  # of the identity in W_q W_k^T
    alpha2: float | int = 0.4  # of the noise in W_v W_proj
    beta2: float | int = 0.4  # of minus the identity in W_v W_proj
    positions: bool = True  # whether position tables of vision transformers are sinusoids
    mlp_mean: float | int = 0
    """What is added to the first weights of MLPs, in units of their own std (Trockman & Kolter, 2026,
    arXiv:2602.07156); 0: nothing."""

    def __post_init__(self) -> None:
        for name in ("alpha1", "beta1", "alpha2", "beta2", "mlp_mean"):
            check_number(MIMETIC, name, getattr(self, name), example=0.5, least=-MAX_SCALE)
        if not isinstance(self.positions, bool):
            raise OptionError(f"positions is {self.positions!r}. Allowed: true and false")

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `mimetic` for self-attention and for position tables over a grid, the library's rule elsewhere."""
        manifest = architecture.manifest
        slots = {slot for group in attentions_of(graph, manifest) for slot in self._slots(group)}
        tables = grids_of(graph, manifest) if self.positions else {}
        shifted = dict.fromkeys(self._mlps(architecture, graph), MLP_MEAN) if slots else {}
        return complete_rules(architecture, dict.fromkeys((*slots, *tables), MIMETIC) | shifted)

    def builds_on(self, architecture: Architecture, graph: Graph) -> frozenset[str]:
        """Return packed weights that have rows which it does not fill, and weights that it adds a mean to."""
        manifest = architecture.manifest
        groups = attentions_of(graph, manifest)
        packed = (name for each in groups for name in self._slots(each) if not _whole(each, manifest[name]))
        return frozenset(packed) | self._mlps(architecture, graph)

    @torch.no_grad()
    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Make the weights of one attention together, when the first of them is needed."""
        manifest = architecture.manifest
        tables = grids_of(graph, manifest) if self.positions else {}
        groups = {slot: group for group in attentions_of(graph, manifest) for slot in self._slots(group)}
        shifted = self._mlps(architecture, graph)
        waiting: dict[str, Tensor] = {}

        def make(slot: Slot) -> Tensor:
            if slot.name in tables:
                return _table(slot, *tables[slot.name])
            if slot.name in shifted:
                values = default_weights(slot, seed)
                return values + float(self.mlp_mean) * std_of(values)
            if slot.name not in waiting:
                group = groups[slot.name]
                # Rows that are neither queries, keys nor values, if there are any, keep the default values.
                waiting.update({name: default_weights(manifest[name], seed) for name in self._slots(group)})
                self._fill(group, waiting, seed)
            return waiting.pop(slot.name)

        return fill_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)

    def _mlps(self, architecture: Architecture, graph: Graph) -> frozenset[str]:
        """Return the first weights of the MLPs, which read a residual stream and lead into an activation."""
        if not self.mlp_mean:
            return frozenset()
        manifest = architecture.manifest
        attended = {slot for group in attentions_of(graph, manifest) for slot in group.slots}
        maps = linear_maps_of(graph, manifest)
        inside = {
            slot for branch in residual_branches(graph, manifest, CLOSINGS) for slot in branch.weights if slot in maps
        }
        return frozenset(
            slot
            for slot in inside - attended
            if maps[slot].kind == "linear" and not maps[slot].last_of_branch and maps[slot].followed_by
        )

    def _slots(self, group: Attention) -> tuple[str, ...]:
        if _values_fit(group):
            return group.slots
        return tuple(dict.fromkeys((group.query.slot, group.key.slot)))

    @one_thread()
    def _fill(self, group: Attention, weights: Mapping[str, Tensor], seed: int) -> None:
        """Write queries and keys head by head, values and projection at once."""
        shared = group.heads // len(group.key.rows)
        for head in range(group.heads):
            generator = slot_generator(seed, group.query.slot, stream=f"query {head}")
            product = _near_identity(group.width, float(self.alpha1), float(self.beta1), generator)
            if head % shared == 0:
                left, root, right = _singular(product, group.head_width)
                query, key = left * root, right * root  # eq. 4: W_q = U S^(1/2), W_k = V S^(1/2)
                _write(weights, group.key, head // shared, key.T)
            else:  # the keys are there already: the best queries for them
                query = product @ torch.linalg.pinv(key).T
            _write(weights, group.query, head, query.T)
        if group.value is None or group.project is None or not _values_fit(group):
            return
        generator = slot_generator(seed, group.query.slot, stream="value")
        product = _near_identity(group.width, float(self.alpha2), -float(self.beta2), generator)
        left, root, right = _singular(product, group.head_width * len(group.value.rows))
        value, mixed = (left * root).T, (right * root).T.unflatten(0, (len(group.value.rows), -1))
        for head in range(len(group.value.rows)):
            _write(weights, group.value, head, value.unflatten(0, (len(group.value.rows), -1))[head])
        # Heads that share their values share the product: each has its part of it.
        _write(weights, group.project, 0, (mixed / shared).repeat_interleave(shared, 0).flatten(0, 1).T)


def _values_fit(group: Attention) -> bool:
    """Whether there are no more values than the width, so that the product with the projection can be factored."""
    if group.value is None or group.project is None:
        return False
    return group.head_width * len(group.value.rows) <= group.width


def _whole(group: Attention, slot: Slot) -> bool:
    """Whether all rows of a weight are queries, keys or other rows that are filled with them."""
    fit = _values_fit(group)
    if fit and group.project is not None and group.project.slot == slot.name:
        return True
    shares = [share for share in (group.query, group.key, group.value if fit else None) if share is not None]
    own = [share for share in shares if share.slot == slot.name]
    rows = {first + row for share in own for first in share.rows for row in range(group.head_width)}
    return len(rows) == slot.shape[-1 if own[0].in_out else 0]


def _near_identity(
    width: int, noise: float, identity: float, generator: torch.Generator
) -> Float[Tensor, "width width"]:
    """Return the weighted sum of the identity and noise of variance 1 / width (eq. 3)."""
    values = torch.randn(width, width, generator=generator) * (noise / width**0.5)
    return values + identity * torch.eye(width)


def _singular(
    product: Float[Tensor, "width width"], rank: int
) -> tuple[Float[Tensor, "width rank"], Float[Tensor, " rank"], Float[Tensor, "width rank"]]:
    """Return the first singular vectors of both sides and the square roots of their values."""
    left, values, right = torch.linalg.svd(product)
    return left[:, :rank], values[:rank].sqrt(), right[:rank].T


def _write(weights: Mapping[str, Tensor], share: Share, head: int, rows: Float[Tensor, "out in"]) -> None:
    target = weights[share.slot].T if share.in_out else weights[share.slot]
    target[share.rows[head] : share.rows[head] + len(rows)] = rows.to(target.dtype)


def _table(slot: Slot, grid: tuple[int, int], prefix: int) -> Tensor:
    """Return sinusoids for the tokens of the grid, zero for those before it."""
    table = torch.zeros(slot.shape[-2:])
    table[prefix:] = sinusoids(*grid, slot.shape[-1])
    return table.view(slot.shape).to(slot.dtype)
