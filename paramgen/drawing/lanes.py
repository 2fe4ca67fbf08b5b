"""Lanes beside the boxes of a frame, for skips and for what enters or leaves past other boxes."""

from paramgen.drawing.vertices import WIRE_LANE, Layered, Point, Vertex, Wire


def draw_lanes(layout: Layered, edges: list[tuple[int, int]]) -> None:
    """Route edges beside the boxes, the shortest innermost; edges of one source and side share a lane."""
    buses: dict[tuple[int, int], list[int]] = {}
    for a, b in edges:
        buses.setdefault((a, layout.aside[a, b]), []).append(b)
    taken: list[tuple[int, int, int, float]] = []

    def span(bus: tuple[int, int]) -> tuple[int, int, int]:
        return max(layout.vertices[b].row for b in buses[bus]) - layout.vertices[bus[0]].row, bus[0], bus[1]

    for source, side in sorted(buses, key=span):
        first = layout.vertices[source].row
        last = max(layout.vertices[b].row for b in buses[source, side])
        reach = [_reach(layout, row, side) for row in range(first, last + 1)]
        reach += [x for a, b, other, x in taken if other == side and a < last and b > first]
        x = max(reach) + WIRE_LANE
        taken.append((first, last, side, x))
        for target in buses[source, side]:
            points = [*_leave(layout, source, side, x), *reversed(_leave(layout, target, side, x, into=True))]
            layout.wires.append(Wire(source, target, tuple(points), (source, target) in layout.skips, False))


def _reach(layout: Layered, row: int, side: int) -> float:
    """Return how far a row, and the steps below it, extend to one side."""
    ends = [v.right + v.x if side > 0 else v.left - v.x for v in (layout.vertices[i] for i in layout.rows[row])]
    return max(ends)


def _leave(layout: Layered, vertex: int, side: int, lane: float, into: bool = False) -> list[Point]:
    """Return the path from a vertex to a lane: out of its side if nothing is there, else through the gap.

    What enters at a side does so above the middle, what leaves below it: both may happen to one vertex.
    """
    row, it = layout.rows[layout.vertices[vertex].row], layout.vertices[vertex]
    if not any(_beyond(layout, other, it, side) for other in row) and (side > 0 or it.left == it.right):
        off = min(5.0, it.body / 5)
        y = layout.centre(vertex) + (-off if into else off)
        # A round sign is narrower there.
        edge = it.right - (off * off / it.right if it.body == 2 * it.right else 0.0) / 2
        return [(it.x + side * edge if it.body else it.x, y), (side * lane, y)]
    start, x = (layout.top(vertex) if into else layout.bottom(vertex)), it.x + side * min(8.0, it.right / 2)
    line = layout.tops[it.row] - 7 if into else layout.tops[it.row] + layout.heights[it.row] + 7
    return [(x, start), (x, line), (side * lane, line)]


def _beyond(layout: Layered, other: int, it: Vertex, side: int) -> bool:
    return layout.vertices[other] is not it and side * (layout.vertices[other].x - it.x) > 0
