"""From nodes to drawn boxes: a weight and its bias become one box; edges beside a longer path are skips."""

from dataclasses import dataclass
from typing import Final, Literal

from paramgen.graphs.ops import NORMS
from paramgen.graphs.schema import Graph, Node

BoxKind = Literal["conv", "linear", "embedding", "recurrent", "norm", "parameter", "symbol", "end"]

BOX_KINDS: Final[dict[str, BoxKind]] = {
    "input": "end",
    "output": "end",
    "conv": "conv",
    "depthwise_conv": "conv",
    "dilated_conv": "conv",
    "transposed_conv": "conv",
    "linear": "linear",
    "embedding": "embedding",
    "recurrent": "recurrent",
    "bias": "parameter",
    "parameter": "parameter",
    **dict.fromkeys(NORMS, "norm"),
}
MAX_BOX_DEPTH: Final = 12
"""Deeper module paths are drawn as if they ended here: frames nest two levels at most."""


@dataclass(frozen=True, slots=True)
class Box:
    """One drawn box: the nodes it stands for, in forward order, its colour, and the module it lives in."""

    nodes: tuple[int, ...]
    kind: BoxKind
    module: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sketch:
    """The graph of the boxes. Edges run from lower to higher positions; `skips` are those that another path covers."""

    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int], ...]
    skips: frozenset[tuple[int, int]]
    at: tuple[tuple[tuple[int, int], ...], ...]  # per box: its edges
    ancestors: tuple[int, ...]  # per box: one bit for every box that a path leads from

    def edges_at(self, inside: tuple[int, ...]) -> list[tuple[int, int]]:
        """Return the edges that begin or end at one of these boxes, in order."""
        return sorted({edge for box in inside for edge in self.at[box]})

    def joined(self, a: int, b: int) -> bool:
        """Whether a path leads from box `a` to box `b`."""
        return bool(self.ancestors[b] >> a & 1)


def module_of(node: Node) -> tuple[str, ...]:
    """Return the module path a node lives in: `layer1.0.conv1` of both `layer1.0.conv1.weight` and `…conv1/relu`."""
    head, slash, _ = node.name.rpartition("/")
    path = head if slash and node.slot is None else node.name.rpartition(".")[0]
    return tuple(part for part in path.split(".") if part)[:MAX_BOX_DEPTH]


def sketch(graph: Graph) -> Sketch:
    """Merge the nodes of `graph` into boxes and order them so that every parameter stands before its first use."""
    owner = _owners(graph)
    members: dict[int, list[int]] = {}
    for index, first in enumerate(owner):
        members.setdefault(first, []).append(index)
    pairs = {(owner[a], owner[b]) for a, b in graph.edges.tolist() if owner[a] != owner[b]}
    order = _order(graph, sorted(members), pairs)
    position = {first: place for place, first in enumerate(order)}
    boxes = tuple(_box(graph, members[first]) for first in order)
    edges = tuple(sorted((position[a], position[b]) for a, b in pairs))
    at: list[list[tuple[int, int]]] = [[] for _ in boxes]
    for edge in edges:
        at[edge[0]].append(edge)
        at[edge[1]].append(edge)
    ancestors = _ancestors(at)
    return Sketch(boxes, edges, _skips(edges, ancestors), tuple(map(tuple, at)), ancestors)


def _box(graph: Graph, members: list[int]) -> Box:
    node = graph.nodes[members[0]]
    return Box(tuple(members), BOX_KINDS.get(node.op, "symbol"), module_of(node))


def _owners(graph: Graph) -> list[int]:
    """Return for every node the first node of its box."""
    before: dict[int, list[int]] = {}
    after: dict[int, list[int]] = {}
    for a, b in graph.edges.tolist():
        before.setdefault(b, []).append(a)
        after.setdefault(a, []).append(b)
    owner = list(range(len(graph)))
    for index, node in enumerate(graph.nodes):
        sources = before.get(index, [])
        if len(sources) == 1 and after[sources[0]] == [index] and _continues(graph.nodes[sources[0]], node):
            owner[index] = owner[sources[0]]
    return owner


def _continues(first: Node, second: Node) -> bool:
    """A bias continues its weight or norm; the tensors of one recurrent layer continue each other."""
    if first.slot is None or second.slot is None or module_of(first) != module_of(second):
        return False
    if second.op == "bias":
        return first.op != "parameter"
    return second.op == "recurrent" and first.op in ("recurrent", "bias")


def _order(graph: Graph, firsts: list[int], pairs: set[tuple[int, int]]) -> list[int]:
    """Return the boxes in forward order; parameters move to their first use, those without any use to the end."""
    use: dict[int, int] = {}
    fed = {b for _, b in pairs}
    for a, b in sorted(pairs):
        use[a] = min(use.get(a, b), b)

    def key(first: int) -> tuple[int, int, int]:
        if first in fed or graph.nodes[first].op == "input":
            return first, 1, first
        unused = len(graph) if graph.nodes[first].slot is not None else first
        return use.get(first, unused), 0, first

    return sorted(firsts, key=key)


def _ancestors(at: list[list[tuple[int, int]]]) -> tuple[int, ...]:
    """Return the ancestors of every box, a bit each: one integer per box stays fast at the picture limit."""
    ancestors: list[int] = []
    for box, edges in enumerate(at):
        above = 0
        for source in (a for a, b in edges if b == box):
            above |= ancestors[source] | 1 << source
        ancestors.append(above)
    return tuple(ancestors)


def _skips(edges: tuple[tuple[int, int], ...], ancestors: tuple[int, ...]) -> frozenset[tuple[int, int]]:
    """Return the edges outside the transitive reduction: a longer path joins the same two boxes."""
    sources: dict[int, list[int]] = {}
    for a, b in edges:
        sources.setdefault(b, []).append(a)
    return frozenset((a, b) for a, b in edges if any(ancestors[other] >> a & 1 for other in sources[b]))
