"""Graph encoder with distance-aware attention (GHN-3, Knyazev et al., 2023, arXiv:2303.04143; Graphormer, 2021)."""

from dataclasses import dataclass
from typing import Final, cast, final

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional

from paramgen.errors import HypernetError
from paramgen.graphs.views.view import View
from paramgen.graphs.views.virtual_edges import MAX_CUTOFF
from paramgen.hypernets.checks import check_view, within
from paramgen.hypernets.encoders.shape_tables import channel_sizes, shape_rows, spatial_sizes

MAX_ENCODED_NODES: Final = 8192  # attention is quadratic: 8 heads on more nodes would need over 2 GB per tensor
EDGE_CODES: Final = MAX_CUTOFF + 3  # a distance d has code d + 2; the first two are kept for padding
_MAX_DEGREE: Final = 100
_MAX_DISTANCE: Final = 1000


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class GraphormerConfig:
    """Sizes of a `Graphormer`, and how its input is written."""

    hidden: int
    layers: int
    heads: int
    primitives: int  # rows of the primitive table
    channels: tuple[int, ...]  # channel numbers with a row of their own besides the usual ones
    spatial: int  # the largest kernel the shape table tells apart
    cutoff: int  # the longest virtual edge
    final_norm: bool

    def __post_init__(self) -> None:
        within("encoder.hidden", self.hidden, 4, 4096)
        within("encoder.layers", self.layers, 1, 128)
        within("encoder.heads", self.heads, 1, 128)
        within("encoder.primitives", self.primitives, 1, 1024)
        within("encoder.spatial", self.spatial, 1, 64)
        within("encoder.cutoff", self.cutoff, 1, MAX_CUTOFF)
        within("the length of encoder.channels", len(self.channels), 0, 64)
        for size in self.channels:
            within("a size in encoder.channels", size, 1, 10**7)
        if self.hidden % 4 or self.hidden % self.heads:
            raise HypernetError(f"encoder.hidden is {self.hidden}; it must divide by 4 and by {self.heads} heads.")

    def build(self) -> "Graphormer":
        """Return the encoder."""
        return Graphormer(self)


@final
class Graphormer(nn.Module):
    """Node embedding, then pre-norm attention layers that share one bias computed from the distances."""

    def __init__(self, config: GraphormerConfig) -> None:
        super().__init__()
        self.config = config
        self._channels, self._spatials = channel_sizes(config.channels), spatial_sizes(config.spatial)
        hidden = config.hidden
        self.primitive = nn.Embedding(config.primitives, hidden)
        self.channel = nn.Embedding(len(self._channels) + 1, hidden // 4)
        self.spatial = nn.Embedding(len(self._spatials) + 1, hidden // 4)
        self.incoming = nn.Embedding(_MAX_DEGREE + 1, hidden)
        self.outgoing = nn.Embedding(_MAX_DEGREE + 1, hidden)
        self.depth = nn.Embedding(_MAX_DISTANCE + 1, hidden)
        self.edges = EdgeBias(hidden, config.heads)
        self.layers = nn.ModuleList(GraphormerLayer(hidden, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(hidden) if config.final_norm else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize small tables and, where layers add to the stream, projections that shrink with the depth."""
        for table in (self.primitive, self.channel, self.spatial):
            nn.init.normal_(table.weight, std=0.5)
        for table in (self.incoming, self.outgoing, self.depth):
            nn.init.normal_(table.weight, std=0.1)
        for layer in self.layers:
            cast(GraphormerLayer, layer).reset_parameters((2 * len(self.layers)) ** -0.5)

    def forward(self, view: View) -> Float[Tensor, "nodes hidden"]:
        """Return one state per node."""
        self._validate(view)
        device = self.primitive.weight.device
        distances = view.distances.to(device)
        states = self._embed(view, distances)
        bias = self.edges(distances)
        for layer in self.layers:
            states = layer(states, bias)
        return self.norm(states)

    def _embed(
        self, view: View, distances: Int64[Tensor, "nodes nodes"] | UInt8[Tensor, "nodes nodes"]
    ) -> Float[Tensor, "nodes hidden"]:
        device = distances.device
        rows = torch.tensor([shape_rows(shape, self._channels, self._spatials) for shape in view.shapes], device=device)
        shapes = torch.cat((self.channel(rows[:, :2]), self.spatial(rows[:, 2:])), dim=1).flatten(1)  # (nodes, hidden)
        adjacent = distances == 1
        return (
            self.primitive(view.primitives.to(device))
            + shapes
            + self.incoming(adjacent.sum(0).clamp(max=_MAX_DEGREE))
            + self.outgoing(adjacent.sum(1).clamp(max=_MAX_DEGREE))
            + self.depth(distances[0].long().clamp(max=_MAX_DISTANCE))
        )

    def _validate(self, view: View) -> None:
        check_view(view, self.config.primitives, MAX_ENCODED_NODES)
        if int(view.distances.max()) > MAX_CUTOFF:
            raise HypernetError(f"A distance of {int(view.distances.max())}; allowed are 0 to {MAX_CUTOFF}.")


@final
class EdgeBias(nn.Module):
    """What attention adds for a pair of nodes: a function of the distances there and back."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.code = nn.Embedding(EDGE_CODES, hidden)
        self.mlp = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, heads))
        nn.init.normal_(self.code.weight, std=0.5)

    def forward(
        self, distances: Int64[Tensor, "nodes nodes"] | UInt8[Tensor, "nodes nodes"]
    ) -> Float[Tensor, "heads nodes nodes"]:
        """Return the bias of every pair; the network runs once per pair of distances that occurs."""
        base = int(distances.max()) + 1
        pairs = (distances.int() * base + distances.T).flatten()
        found = torch.bincount(pairs).nonzero().squeeze(1)
        features = torch.cat((self.code(found // base + 2), self.code(found % base + 2)), dim=1)
        values = self.mlp(features).t()  # (heads, found)
        table = values.new_zeros(len(values), base**2).index_copy(1, found, values)
        return table.index_select(1, pairs).view(-1, *distances.shape)


@final
class GraphormerLayer(nn.Module):
    """Attention, then a feed-forward network, each on normalised states and added to them."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(hidden)
        self.attention = GraphAttention(hidden, heads)
        self.feed_forward_norm = nn.LayerNorm(hidden)
        self.feed_forward = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Linear(4 * hidden, hidden))

    def reset_parameters(self, gain: float) -> None:
        """Initialize with Xavier weights, the two that write to the stream `gain` times as large."""
        first, last = cast(nn.Linear, self.feed_forward[0]), cast(nn.Linear, self.feed_forward[2])
        for layer, scale in ((self.attention.qkv, 1.0), (self.attention.out, gain), (first, 1.0), (last, gain)):
            nn.init.xavier_uniform_(layer.weight, gain=scale)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(
        self, states: Float[Tensor, "nodes hidden"], bias: Float[Tensor, "heads nodes nodes"]
    ) -> Float[Tensor, "nodes hidden"]:
        """Return the new states."""
        states = states + self.attention(self.attention_norm(states), bias)
        return states + self.feed_forward(self.feed_forward_norm(states))


@final
class GraphAttention(nn.Module):
    """Softmax attention between all nodes, with an additive bias."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)

    def forward(
        self, states: Float[Tensor, "nodes hidden"], bias: Float[Tensor, "heads nodes nodes"]
    ) -> Float[Tensor, "nodes hidden"]:
        """Return what every node (row of `bias`) collects from all others (columns)."""
        nodes, hidden = states.shape
        query, key, value = self.qkv(states).view(nodes, 3, self.heads, -1).permute(1, 2, 0, 3)  # (heads, nodes, -1)
        # A batch of one: without that axis the fused kernel, which holds no logits, is not chosen.
        fused = functional.scaled_dot_product_attention(query[None], key[None], value[None], attn_mask=bias[None])
        return self.out(fused[0].transpose(0, 1).flatten(1))
