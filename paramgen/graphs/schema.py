"""The graph of a network, version 1: nodes (operations and parameters) and edges in forward order, as plain arrays.

A parameterised operation is represented by its parameters on the path of the data, weight first, bias after it (GHN,
Zhang et al., 2019, arXiv:1810.05749); every other operation is one node. A tied parameter has one node per use. A
parameter that no path reaches has a node without edges. Operations that only move data (views, transpositions,
casts) have no node.

One-letter axes: a graph has `nodes` nodes and `edges` edges; every edge goes from a lower to a higher index, so a
graph cannot have a cycle and the node order is a topological order.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from jaxtyping import Int64

from paramgen.errors import GraphError
from paramgen.graphs.ops import VOCABULARY
from paramgen.modelcard.notebook import table

VERSION: Final = 1
MAX_NODES: Final = 100_000
MAX_EDGES: Final = 1_000_000
MAX_DIMENSIONS: Final = 8
MAX_ELEMENTS: Final = 10**11
UNORDERED: Final = frozenset(("module tree", "nothing"))
"""What a graph is made by where the forward pass cannot be followed: it has nodes, or not even these, and no edges."""

Attribute = int | float | str | tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node: what it does, what it is called, which slot it holds, and its shape."""

    op: str  # one of `ops.VOCABULARY`
    name: str  # the slot's name, or `module.path/function` for an operation without parameters
    slot: str | None = None  # the canonical name of the state-dict entry that a parameter node holds
    shape: tuple[int, ...] = ()  # the parameter's shape; of an operation, the shape of what it returns
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    """`kernel`, `stride`, `dilation`, `groups`, `heads`; `layout` is `in_out` where a weight maps rows to columns."""


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A validated graph. `edges[:, 0] < edges[:, 1]`, sorted, no edge twice."""

    nodes: tuple[Node, ...]
    edges: Int64[np.ndarray, "edges 2"]
    traced_by: str
    failures: tuple[str, ...] = ()  # of the tracing backends tried before, in order: `backend: why it failed`

    def __post_init__(self) -> None:
        _validate(self)

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        return f"Graph({len(self):,} nodes, {len(self.edges):,} edges, traced by {self.traced_by})"

    def _repr_html_(self) -> str:
        counts = Counter(node.op for node in self.nodes)
        return table(repr(self), ("operation", "nodes"), counts.most_common(12))

    @property
    def ordered(self) -> bool:
        """Whether the order in which the network runs is known."""
        return self.traced_by not in UNORDERED

    @property
    def reason(self) -> str:
        """Why the first tracing backend failed, empty if it did not; later reasons may not be about the network."""
        return self.failures[0].partition(": ")[2] if self.failures else ""

    def unreachable(self) -> list[str]:
        """Return the parameters that no path from input to output reaches, as far as paths are known."""
        if not self.ordered:
            return []
        reached = set(self.edges.flatten().tolist())
        return [node.name for index, node in enumerate(self.nodes) if node.slot is not None and index not in reached]

    def nodes_of_slot(self) -> dict[str, int]:
        """Return for each slot the index of its first node in forward order."""
        first: dict[str, int] = {}
        for index, node in enumerate(self.nodes):
            if node.slot is not None:
                first.setdefault(node.slot, index)
        return first


def _validate(graph: Graph) -> None:
    """Check limits first, then the vocabulary, the shapes and the order of the edges."""
    nodes, edges = graph.nodes, graph.edges
    if not 0 < len(nodes) <= MAX_NODES or len(edges) > MAX_EDGES:
        raise GraphError(
            f"A graph of {len(nodes)} nodes and {len(edges)} edges; allowed are 1 to {MAX_NODES} nodes and at most "
            f"{MAX_EDGES} edges."
        )
    known = frozenset(VOCABULARY)
    for index, node in enumerate(nodes):
        if node.op not in known:
            raise GraphError(f"Node {index} has the unknown operation {node.op!r}. Known: {', '.join(VOCABULARY)}.")
        validate_shape(node.shape, f"Node {index}")
    if edges.shape != (len(edges), 2) or edges.dtype != np.int64:
        raise GraphError(f"Edges are pairs of node indices; given were {edges.dtype} of shape {edges.shape}.")
    if len(edges) == 0:
        return
    outside = (edges < 0) | (edges >= len(nodes))
    if outside.any():
        raise GraphError(f"Edge {edges[outside.any(axis=1)][0].tolist()} leaves the {len(nodes)} nodes.")
    backwards = edges[:, 0] >= edges[:, 1]
    if backwards.any():
        raise GraphError(f"Edge {edges[backwards][0].tolist()} runs backwards; edges go from lower to higher indices.")
    if len(np.unique(edges, axis=0)) != len(edges):
        raise GraphError("The same edge is given twice.")


def validate_shape(shape: tuple[int, ...], what: str) -> None:
    """Refuse shapes of too many dimensions, below zero, or with too many elements.

    Raises:
        GraphError: The shape is refused; the message begins with `what`.
    """
    elements = 1
    for size in shape:
        if size < 0:
            raise GraphError(f"{what} has the shape {shape}; sizes are zero or more.")
        elements *= size
    if len(shape) > MAX_DIMENSIONS or elements > MAX_ELEMENTS:
        raise GraphError(
            f"{what} has the shape {shape}; allowed are {MAX_DIMENSIONS} dimensions and {MAX_ELEMENTS:,} elements."
        )
