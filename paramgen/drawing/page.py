"""The page: columns side by side, the data running down every column, left to right, and the wires between frames.

A wire between two frames that follow each other in a column runs straight; all others run in lanes between the
columns (and, past a column, in a channel above them), as on a circuit diagram.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from paramgen.drawing.boxes import Sketch, sketch
from paramgen.drawing.columns import GUTTER, Rect, Stack, stacks
from paramgen.drawing.frames import frames
from paramgen.drawing.interior import Interior, interior
from paramgen.drawing.routes import LANE, Link, plan
from paramgen.drawing.vertices import Point
from paramgen.graphs.schema import Graph


@dataclass(frozen=True, slots=True)
class Line:
    """A wire from boxes to boxes; several share it where they share their path."""

    sources: tuple[int, ...]
    targets: tuple[int, ...]
    points: tuple[Point, ...]
    skip: bool
    curved: bool
    arrow: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Everything with its place: the input of the SVG writer. The left top corner is (0, 0)."""

    sketch: Sketch
    interiors: tuple[Interior, ...]
    origins: tuple[Point, ...]  # per frame: where its axis meets its top
    rects: tuple[Rect, ...]
    lines: tuple[Line, ...]
    width: float
    height: float


def page(graph: Graph) -> Page:
    """Lay out the whole graph."""
    drawn = sketch(graph)
    interiors: list[Interior] = []
    parts = frames(drawn)
    home = {box: number for number, frame in enumerate(parts) for box in frame.boxes}
    for number, frame in enumerate(parts):
        outside = {a for a, _ in drawn.edges_at(frame.boxes)} - set(frame.boxes)
        distance = {box: number - 1 - home[box] for box in outside}
        interiors.append(interior(graph, drawn, frame, distance))
    return _assembled(drawn, tuple(interiors), stacks(interiors))


def _assembled(drawn: Sketch, interiors: tuple[Interior, ...], columns: list[Stack]) -> Page:
    """Fix the coordinates: the channel on top, then gutter and column by turns."""
    column = [number for number, stack in enumerate(columns) for _ in stack.frames]
    links, tops = _links(interiors), [top for stack in columns for top in stack.tops]
    routes = plan([link for link in links if not link.straight(column)], column, interiors, tops)
    down = LANE * routes.tracks + (GUTTER if routes.tracks else 0.0)
    axes, gutters, x = [], [], 0.0
    for number, stack in enumerate(columns):
        gutters.append(x + GUTTER / 2)
        x += GUTTER + LANE * routes.counts.get(number, 0) + stack.left
        axes.append(x)
        x += stack.right
    gutters.append(x + GUTTER / 2)
    width = x + GUTTER + LANE * routes.counts.get(len(columns), 0)
    origins = tuple((axes[place], top + down) for place, top in zip(column, tops, strict=True))
    rects = tuple(_moved(rect, axes[number], down) for number, stack in enumerate(columns) for rect in stack.rects)
    lines = [line for it, origin in zip(interiors, origins, strict=True) for line in _inner(drawn, it, origin)]
    for link in links:
        ends, straight = _ends(interiors, origins, link), link.straight(column)
        points = ends if straight else routes.path(link, ends, gutters, down)
        targets = interiors[link.end].entries[link.port].targets
        skip = all((link.source, target) in drawn.skips for target in targets)
        lines.append(Line((link.source,), targets, points, skip, straight, False))
    return Page(drawn, interiors, origins, rects, tuple(lines), width, max(s.height for s in columns) + down)


def _inner(drawn: Sketch, it: Interior, origin: Point) -> Iterator[Line]:
    """Yield the wires inside one frame, with the boxes at their ends instead of vertices."""
    (x, y), boxes = origin, {vertex: box for box, vertex in it.vertices.items()}
    ports = {vertex: box for box, vertex in it.exits.items()}
    inside = set(it.frame.boxes)
    for wire in it.layout.wires:
        sources = (boxes[wire.source],) if wire.source in boxes else it.entries[wire.source].sources
        leaving = ports.get(wire.target)
        targets = (
            (boxes[wire.target],) if leaving is None else tuple(b for a, b in drawn.at[leaving] if b not in inside)
        )
        points = tuple((x + px, y + py) for px, py in wire.points)
        yield Line(sources, targets, points, wire.skip, wire.curved, leaving is None)
    for box, anchor in it.hanging.items():
        (left, top), face = it.box_at(box), it.faces[box]
        end = it.layout.vertices[it.vertices[anchor]].x - it.faces[anchor].width / 2
        middle = y + top + face.height / 2
        yield Line((box,), (anchor,), ((x + left + face.width, middle), (x + end, middle)), False, False, True)


def _ends(interiors: tuple[Interior, ...], origins: tuple[Point, ...], link: Link) -> tuple[Point, Point]:
    """Return where a wire leaves the frame of its source and where it enters that of its target."""
    first, second = interiors[link.start].layout, interiors[link.end].layout
    (x, y), (far_x, far_y) = origins[link.start], origins[link.end]
    port = first.vertices[interiors[link.start].exits[link.source]]
    return (x + port.x, y + first.height), (far_x + second.vertices[link.port].x, far_y)


def _links(interiors: tuple[Interior, ...]) -> list[Link]:
    home = {box: index for index, it in enumerate(interiors) for box in it.frame.boxes}
    return [
        Link(source, home[source], end, port)
        for end, it in enumerate(interiors)
        for port, entry in enumerate(it.entries)
        for source in entry.sources
    ]


def _moved(rect: Rect, x: float, y: float) -> Rect:
    return Rect(
        rect.module, rect.label, rect.level, rect.framed, rect.top + y, rect.bottom + y, rect.left + x, rect.right + x
    )
