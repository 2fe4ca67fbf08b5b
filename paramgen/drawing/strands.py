"""Positions from left to right: what can be straight becomes one strand, and strands move towards their neighbours.

The idea of aligning first and spacing then is that of Brandes & Köpf (2001, doi:10.1007/3-540-45848-4_3).
"""

from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Final

from paramgen.drawing.vertices import Layered, mean, neighbours

ASIDE: Final = 22.0
STRAND_SWEEPS: Final = 24
STIFF: Final = 1000.0
"""The weight of the spine against one branch: branches make room, the path of the data stays straight."""


def spread(layout: Layered, links: list[tuple[int, int]], soft: set[tuple[int, int]]) -> None:
    """Place strands as near to the middle of their neighbours as the gaps allow; the spine holds its line.

    `soft` links belong to skips: they do not bend the path of the data, only their bends and ports follow it.
    """
    hard = [link for link in links if link not in soft]
    inner = [(a, b) for a, b in links if (a, b) in soft and layout.vertices[a].bend and layout.vertices[b].bend]
    strand = _strands(layout, hard + inner, _crossing(layout, links))
    held = {strand[vertex] for vertex in spine(layout, hard)} | {strand[layout.axis]}
    pulls: dict[int, list[int]] = {}
    for a, b in links:
        pulled = [v for v in (a, b) if (a, b) not in soft or layout.vertices[v].height == 0]
        for vertex in pulled if strand[a] != strand[b] else ():
            pulls.setdefault(strand[vertex], []).append(strand[a + b - vertex])
    pulls |= {s: [strand[layout.axis]] for s in held}
    room = Room.of(_gaps(layout, strand), sorted(set(strand)), pulls, held)
    for sweep in range(STRAND_SWEEPS):
        for s in room.order if sweep % 2 else reversed(room.order):
            room.move(s)
    for index, placed in enumerate(layout.vertices):
        placed.x = room.x[strand[index]] - room.x[strand[layout.axis]]


@dataclass(slots=True)
class Room:
    """Strands from left to right, how far apart those side by side have to stay, and where each is pulled."""

    x: dict[int, float]
    order: list[int]
    sides: tuple[dict[int, list[tuple[int, float]]], dict[int, list[tuple[int, float]]]]  # neighbours left, right
    pulls: dict[int, list[int]]
    spine: set[int]

    @classmethod
    def of(
        cls, gaps: dict[tuple[int, int], float], strands: list[int], pulls: dict[int, list[int]], spine: set[int]
    ) -> "Room":
        """Start with every strand as far left as the gaps allow. Strands never cross: "left of" is an order."""
        before: dict[int, list[tuple[int, float]]] = {strand: [] for strand in strands}
        after: dict[int, list[tuple[int, float]]] = {strand: [] for strand in strands}
        for (a, b), gap in sorted(gaps.items()):
            before[b].append((a, gap))
            after[a].append((b, gap))
        order = list(TopologicalSorter({s: [a for a, _ in before[s]] for s in strands}).static_order())
        x: dict[int, float] = {}
        for s in order:
            x[s] = max((x[a] + gap for a, gap in before[s]), default=0.0)
        return cls(x, order, (before, after), pulls, spine)

    def move(self, strand: int) -> None:
        """Move a strand towards where it is pulled, with all that it pushes, as far as their mean wish goes."""
        wish = self._wish(strand)
        if abs(wish) < 0.01:
            return
        sign = 1.0 if wish > 0 else -1.0
        group, pending, slack = [strand], [strand], float("inf")
        while pending:
            member = pending.pop()
            for other, gap in self.sides[wish > 0][member]:
                free = sign * (self.x[other] - self.x[member]) - gap
                if other not in group and free < 0.01:
                    group.append(other)
                    pending.append(other)
        for member in group:
            for other, gap in self.sides[wish > 0][member]:
                if other not in group:
                    slack = min(slack, sign * (self.x[other] - self.x[member]) - gap)
        weights = [STIFF if member in self.spine else 1.0 for member in group]
        wishes = [sign * self._wish(member) * weight for member, weight in zip(group, weights, strict=True)]
        step = min(sum(wishes) / sum(weights), slack)
        if step > 0:
            for member in group:
                self.x[member] += sign * step

    def _wish(self, strand: int) -> float:
        return mean([self.x[other] for other in self.pulls.get(strand, [])], self.x[strand]) - self.x[strand]


def _strands(layout: Layered, links: list[tuple[int, int]], crossing: set[tuple[int, int]]) -> list[int]:
    """Return for every vertex the first one of its strand: a chain without forks, joins or crossings stays straight."""
    above, below = neighbours(layout, links)
    strand = list(range(len(layout.vertices)))
    for row in layout.rows[1:]:
        for vertex in row:
            source = above[vertex][0] if len(above[vertex]) == 1 else -1
            if source >= 0 and len(below[source]) == 1 and (source, vertex) not in crossing:
                strand[vertex] = strand[source]
    return strand


def spine(layout: Layered, links: list[tuple[int, int]]) -> set[int]:
    """Return the vertices that every path from the main entry to the farthest vertex it reaches passes."""
    counts: dict[int, int] = {layout.axis: 1}
    reverse: dict[int, int] = {}
    steps = sorted(links, key=lambda link: layout.vertices[link[0]].row)
    for a, b in steps:
        if a in counts:
            counts[b] = counts.get(b, 0) + counts[a]
    last = max(counts, key=lambda vertex: (layout.vertices[vertex].row, -vertex))
    reverse[last] = 1
    for a, b in reversed(steps):
        if b in reverse and a in counts:
            reverse[a] = reverse.get(a, 0) + reverse[b]
    return {vertex for vertex in reverse if counts[vertex] * reverse[vertex] == counts[last]}


def _crossing(layout: Layered, links: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return the links that cross another one."""
    place = {vertex: at for row in layout.rows for at, vertex in enumerate(row)}
    steps: dict[int, list[tuple[int, int]]] = {}
    for a, b in links:
        steps.setdefault(layout.vertices[a].row, []).append((a, b))
    found = set()
    for step in steps.values():
        step.sort(key=lambda link: (place[link[0]], place[link[1]]))
        for at, (a, b) in enumerate(step):
            across = {(c, d) for c, d in step[:at] if place[c] < place[a] and place[d] > place[b]}
            found |= across | ({(a, b)} if across else set())
    return found


def _gaps(layout: Layered, strand: list[int]) -> dict[tuple[int, int], float]:
    """Return how far apart the centres of strands that stand side by side have to be."""
    gaps: dict[tuple[int, int], float] = {}
    for row in layout.rows:
        for a, b in zip(row, row[1:], strict=False):
            first, second = layout.vertices[a], layout.vertices[b]
            gap = first.right + ASIDE * (0.6 if first.bend or second.bend else 1.0) + second.left
            gaps[strand[a], strand[b]] = max(gap, gaps.get((strand[a], strand[b]), 0.0))
    return gaps
