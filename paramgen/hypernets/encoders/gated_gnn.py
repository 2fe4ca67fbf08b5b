"""Gated graph network (GHN-1, Zhang et al., 2019, arXiv:1810.05749; GHN-2, Knyazev et al., 2021, arXiv:2110.13100).

Nodes are updated one after the other along the graph, first forward, then backward; each sees what those before it
have just become. That is why this is plain torch: message passing as libraries have it updates all nodes at once.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from paramgen.errors import HypernetError
from paramgen.graphs.views.view import View
from paramgen.graphs.views.virtual_edges import MAX_CUTOFF
from paramgen.hypernets.checks import check_view, within
from paramgen.hypernets.encoders.graphormer import MAX_ENCODED_NODES
from paramgen.hypernets.encoders.shape_tables import channel_sizes, shape_rows, spatial_sizes


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class GatedGnnConfig:
    """Sizes of a `GatedGnn`, and how its input is written."""

    hidden: int
    primitives: int  # rows of the primitive table
    channels: tuple[int, ...]  # channel numbers with a row of their own besides the usual ones
    spatial: int  # the largest kernel the shape table tells apart
    cutoff: int  # the longest virtual edge; 1: there are none (GHN-1)
    final_norm: bool

    def __post_init__(self) -> None:
        within("encoder.hidden", self.hidden, 4, 4096)
        within("encoder.primitives", self.primitives, 1, 1024)
        within("encoder.spatial", self.spatial, 1, 64)
        within("encoder.cutoff", self.cutoff, 1, MAX_CUTOFF)
        within("the length of encoder.channels", len(self.channels), 0, 64)
        for size in self.channels:
            within("a size in encoder.channels", size, 1, 10**7)
        if self.hidden % 4:
            raise HypernetError(f"encoder.hidden is {self.hidden}; it must divide by 4.")

    def build(self) -> "GatedGnn":
        """Return the encoder."""
        return GatedGnn(self)


@final
class GatedGnn(nn.Module):
    """Node embedding, then one pass forward and one backward with messages from neighbours and virtual neighbours.

    A node v at distance s(u, v) from u receives Σ MLP(h_u) over its neighbours plus Σ MLP_ve(h_u) / s(u, v), and a GRU
    makes its new state (arXiv:2110.13100, equations 3 and 4). The paper takes the second sum over s > 1; the code that
    trained the published weights takes it over s ≥ 1, so neighbours count in both sums, and so they do here.
    """

    def __init__(self, config: GatedGnnConfig) -> None:
        super().__init__()
        self.config = config
        self._channels, self._spatials = channel_sizes(config.channels), spatial_sizes(config.spatial)
        hidden, virtual = config.hidden, config.cutoff > 1
        self.primitive = nn.Embedding(config.primitives, hidden)
        self.channel = nn.Embedding(len(self._channels) + 1, hidden // 4)
        self.spatial = nn.Embedding(len(self._spatials) + 1, hidden // 4)
        self.near = _mlp(hidden, hidden // 2 if virtual else hidden)
        self.far = _mlp(hidden, hidden // 2) if virtual else None
        self.gru = nn.GRUCell(hidden, hidden)
        self.norm = nn.LayerNorm(hidden) if config.final_norm else nn.Identity()

    def forward(self, view: View) -> Float[Tensor, "nodes hidden"]:
        """Return one state per node."""
        check_view(view, self.config.primitives, MAX_ENCODED_NODES)
        device = self.primitive.weight.device
        distances = view.distances.to(device)
        states = self._embed(view)
        forward, backward = _generations(distances.cpu().numpy())
        near, far = self._influence(distances, states.dtype)
        states = self._pass(states, forward, near.t(), None if far is None else far.t())
        return self.norm(self._pass(states, backward, near, far))

    def _embed(self, view: View) -> Float[Tensor, "nodes hidden"]:
        device = self.primitive.weight.device
        rows = torch.tensor([shape_rows(shape, self._channels, self._spatials) for shape in view.shapes], device=device)
        shapes = torch.cat((self.channel(rows[:, :2]), self.spatial(rows[:, 2:])), dim=1).flatten(1)  # (nodes, hidden)
        return self.primitive(view.primitives.to(device)) + shapes

    def _influence(
        self, distances: Int64[Tensor, "nodes nodes"] | UInt8[Tensor, "nodes nodes"], dtype: torch.dtype
    ) -> tuple[Float[Tensor, "nodes nodes"], Float[Tensor, "nodes nodes"] | None]:
        """Return the weight of a message from row to column: 1 between neighbours, and 1/s at distance s."""
        near = (distances == 1).to(dtype)
        if self.far is None:
            return near, None
        inverse = distances.to(dtype).reciprocal()
        return near, inverse.masked_fill(distances == 0, 0)

    def _pass(
        self,
        states: Float[Tensor, "nodes hidden"],
        generations: list[Int64[Tensor, " _"]],
        near: Float[Tensor, "nodes nodes"],
        far: Float[Tensor, "nodes nodes"] | None,
    ) -> Float[Tensor, "nodes hidden"]:
        """Return the states once each generation was updated; `near` and `far` weigh messages from column to row."""
        sent = self.near(states)
        sent_far = None if self.far is None else self.far(states)
        for rows in generations:
            message = near[rows] @ sent
            if self.far is not None and far is not None and sent_far is not None:
                message = message + far[rows] @ sent_far
            updated = self.gru(message, states[rows])
            # Out of place, so that gradients can flow through every generation.
            states = states.index_copy(0, rows, updated)
            sent = sent.index_copy(0, rows, self.near(updated))
            if self.far is not None and sent_far is not None:
                sent_far = sent_far.index_copy(0, rows, self.far(updated))
        return states


def _mlp(hidden: int, inner: int) -> nn.Sequential:
    """Return the network that turns a state into a message."""
    return nn.Sequential(nn.Linear(hidden, inner), nn.ReLU(), nn.Linear(inner, hidden), nn.ReLU())


def _generations(distances: np.ndarray) -> tuple[list[Int64[Tensor, " _"]], list[Int64[Tensor, " _"]]]:
    """Return the nodes that are updated together, generation by generation, forward and backward.

    Nodes with no edge between them do not see each other's update, so together is the same as one after the other. A
    node is updated after all nodes before it that it has an edge with, in whichever direction.
    """
    linked = (distances > 0) | (distances > 0).T
    return _levels(linked), _levels(linked[::-1, ::-1], last=len(linked) - 1)


def _levels(linked: np.ndarray, last: int | None = None) -> list[Int64[Tensor, " _"]]:
    """Return the nodes by level; with `last`, the matrix is in reverse order."""
    level = np.zeros(len(linked), dtype=np.int64)
    for node in range(1, len(linked)):
        before = level[:node][linked[node, :node]]
        level[node] = before.max() + 1 if len(before) > 0 else 0
    order = np.argsort(level, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(level))[:-1])
    return [torch.from_numpy(group if last is None else last - group) for group in groups]
