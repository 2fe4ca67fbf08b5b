"""The vertices and wires of one frame, in rows: what the steps of its layout read and fill in.

Coordinates: x = 0 is the axis that the data enters on, y = 0 the top.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

Point = tuple[float, float]

WIRE_LANE: Final = 12.0


@dataclass(slots=True)
class Vertex:
    """A box, a port (where data enters or leaves the frame) or a bend of an edge that passes a row."""

    left: float  # from its centre
    right: float
    height: float
    body: float = 0.0  # the height of the box itself, without what hangs beside it: where wires end
    row: int = 0
    x: float = 0.0
    bend: bool = False


@dataclass(frozen=True, slots=True)
class Wire:
    """A drawn edge. `curved` ones run in smooth steps, the others around corners."""

    source: int
    target: int
    points: tuple[Point, ...]
    skip: bool
    curved: bool


@dataclass(slots=True)
class Layered:
    """Vertices in rows, joined by edges; `place` fills in everything else."""

    vertices: list[Vertex]
    edges: list[tuple[int, int]]
    aside: dict[
        tuple[int, int], int
    ]  # edges that run in a lane beside the boxes when they pass a row: 1 right, -1 left
    skips: frozenset[tuple[int, int]]
    axis: int = 0  # the vertex at x = 0: where the data enters
    entries: int = 0  # the first so many vertices are ports on the top row
    exits: int = 0  # the last so many vertices are ports on the bottom row
    rows: list[list[int]] = field(default_factory=list)
    tops: list[float] = field(default_factory=list)
    heights: list[float] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    left: float = 0.0
    right: float = 0.0
    height: float = 0.0

    def centre(self, vertex: int) -> float:
        """Return the y of the middle of a vertex."""
        row = self.vertices[vertex].row
        return self.tops[row] + self.heights[row] / 2

    def top(self, vertex: int) -> float:
        """Return the y of the top of a vertex."""
        return self.centre(vertex) - self.vertices[vertex].body / 2

    def bottom(self, vertex: int) -> float:
        """Return the y of the bottom of a vertex."""
        return self.centre(vertex) + self.vertices[vertex].body / 2

    def measure(self) -> None:
        """Widen the extent to all vertices and wires placed so far."""
        xs = [x for wire in self.wires for x, _ in wire.points]
        self.left = max([self.left, *(-x for x in xs), *(v.left - v.x for v in self.vertices)])
        self.right = max([self.right, *xs, *(v.right + v.x for v in self.vertices)])


def neighbours(layout: Layered, links: Sequence[tuple[int, int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Return for every vertex those above and those below that a link joins it with."""
    above: list[list[int]] = [[] for _ in layout.vertices]
    below: list[list[int]] = [[] for _ in layout.vertices]
    for a, b in links:
        above[b].append(a)
        below[a].append(b)
    return above, below


def mean(values: list[float], default: float) -> float:
    """Return the mean, or `default` of nothing."""
    return sum(values) / len(values) if values else default
