"""The inside of one frame: the texts and sizes of its boxes, its ports, and its layered layout."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from paramgen.drawing import labels
from paramgen.drawing.boxes import Box, Sketch
from paramgen.drawing.frames import Frame
from paramgen.drawing.layered import place
from paramgen.drawing.vertices import Layered, Vertex
from paramgen.graphs.schema import Graph

BOX: Final = 178.0
TWO_LINES: Final = 37.0
ONE_LINE: Final = 22.0
SIGN: Final = 22.0
PAD: Final = 8.0
HANG: Final = 16.0
"""The distance between a parameter that hangs at the side of an operation and that operation."""


NEAR_RANKS: Final = 3


@dataclass(frozen=True, slots=True)
class Face:
    """What one box shows: its name (parameters only), its detail or sign, and its size."""

    name: str
    detail: str
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class EntryPort:
    """A port on top of a frame: the boxes outside that feed it, and whether they end the frame right before."""

    sources: tuple[int, ...]
    targets: tuple[int, ...]
    straight: bool
    skip: bool


@dataclass(frozen=True, slots=True)
class Interior:
    """One frame laid out. Vertices: entries, then boxes (without the hanging ones), then exits, then bends."""

    frame: Frame
    layout: Layered
    faces: dict[int, Face]
    vertices: dict[int, int]  # box → vertex
    hanging: dict[int, int]  # box → the box it hangs at
    entries: tuple[EntryPort, ...]
    exits: dict[int, int]  # box → vertex of its port at the bottom

    def box_at(self, box: int) -> tuple[float, float]:
        """Return the left top corner of a box."""
        face, anchor = self.faces[box], self.hanging.get(box, box)
        vertex = self.vertices[anchor]
        centre, middle = self.layout.vertices[vertex].x, self.layout.centre(vertex)
        if anchor != box:
            centre -= self.faces[anchor].width / 2 + HANG + face.width / 2
        return centre - face.width / 2, middle - face.height / 2


def face(graph: Graph, box: Box, frame: tuple[str, ...]) -> Face:
    """Return the texts and the size of a box inside `frame`."""
    node = graph.nodes[box.nodes[0]]
    if box.kind in ("symbol", "end"):
        word = labels.word_of(node)
        width = SIGN if len(word) == 1 else labels.columns(word) * labels.WORD_WIDTH + 2 * PAD + 4
        return Face("", word, width, SIGN)
    name, detail = labels.name_of(graph, box, frame), labels.detail_of(node)
    room = BOX - 2 * PAD
    words = labels.columns(detail) * labels.WORD_WIDTH
    if box.kind == "norm" and labels.columns(name) * labels.NAME_WIDTH + words + PAD <= room:
        return Face(name, detail, BOX, ONE_LINE)
    name = labels.shorten(name, int(room / labels.NAME_WIDTH))
    return Face(name, labels.shorten(detail, int(room / labels.WORD_WIDTH)), BOX, TWO_LINES)


def _narrow(it: Face) -> Face:
    """Return the face of a hanging parameter: no wider than its text."""
    room = max(labels.columns(it.name) * labels.NAME_WIDTH, labels.columns(it.detail) * labels.WORD_WIDTH)
    return Face(it.name, it.detail, min(BOX, room + 2 * PAD), it.height)


def interior(graph: Graph, sketch: Sketch, frame: Frame, distance: Mapping[int, int]) -> Interior:
    """Lay out one frame; `distance` says of every box before it how many frames lie in between."""
    inside = set(frame.boxes)
    touching = sketch.edges_at(frame.boxes)
    faces = {box: face(graph, sketch.boxes[box], frame.module) for box in frame.boxes}
    local = [(a, b) for a, b in touching if a in inside and b in inside]
    hanging = _hanging(sketch, touching, inside)
    for box in hanging:
        faces[box] = _narrow(faces[box])
    entries, axis = _entries(sketch, [(a, b) for a, b in touching if a not in inside], distance)
    leaving = sorted({a for a, b in touching if b not in inside})
    standing = [box for box in frame.boxes if box not in hanging]
    vertices = {box: len(entries) + at for at, box in enumerate(standing)}
    exits = {box: len(entries) + len(standing) + at for at, box in enumerate(leaving)}
    edges = [(port, vertices[b]) for port, entry in enumerate(entries) for b in entry.targets]
    edges += [(vertices[a], vertices[b]) for a, b in local if a not in hanging]
    edges += [(vertices[a], exits[a]) for a in leaving]
    skips = {(vertices[a], vertices[b]) for a, b in local if (a, b) in sketch.skips and a not in hanging}
    skips |= _ports_that_skip(sketch, entries, vertices)
    skips |= {
        (vertices[a], exits[a])
        for a in leaving
        if _all_skip(sketch, [(x, y) for x, y in touching if x == a and y not in inside])
    }
    right = skips | {(vertices[a], exits[a]) for a in leaving}
    ports = {edge for edge in edges if edge[0] < len(entries)}
    layout = Layered(
        [Vertex(4.0, 4.0, 0.0) for _ in entries]
        + [_vertex(box, faces, hanging) for box in standing]
        + [Vertex(4.0, 4.0, 0.0) for _ in exits],
        edges,
        {edge: 1 if edge in right else -1 for edge in edges if edge in ports or edge in right},
        frozenset(skips),
        axis=axis,
        entries=len(entries),
        exits=len(exits),
    )
    place(layout)
    return Interior(frame, layout, faces, vertices, hanging, entries, exits)


def _vertex(box: int, faces: dict[int, Face], hanging: dict[int, int]) -> Vertex:
    """Return the vertex of a box, wide enough on its left for the parameter that hangs there."""
    own = faces[box]
    beside = [faces[other] for other, anchor in hanging.items() if anchor == box]
    left = own.width / 2 + sum(HANG + other.width for other in beside)
    return Vertex(left, own.width / 2, max([own.height, *(other.height for other in beside)]), own.height)


def _hanging(sketch: Sketch, touching: list[tuple[int, int]], inside: set[int]) -> dict[int, int]:
    """Return the parameters that hang at an operation, one per operation: fed by nothing, used once, right here."""
    fed = {b for _, b in touching}
    uses: dict[int, list[int]] = {}
    for a, b in touching:
        uses.setdefault(a, []).append(b)
    hanging: dict[int, int] = {}
    for box in sorted(inside):
        use = uses.get(box, [])
        if sketch.boxes[box].kind not in ("parameter", "embedding") or box in fed or len(use) != 1:
            continue
        if use[0] in inside and sketch.boxes[use[0]].kind == "symbol" and use[0] not in hanging.values():
            hanging[box] = use[0]
    return hanging


def _entries(
    sketch: Sketch, coming: list[tuple[int, int]], distance: Mapping[int, int]
) -> tuple[tuple[EntryPort, ...], int]:
    """Return the ports on top, and the main one: one per source right before, one for all others of the same boxes.

    Wires from far away come from the left, from an earlier column; those from near come around on the right.
    """
    targets: dict[int, list[int]] = {}
    for a, b in coming:
        targets.setdefault(a, []).append(b)
    ports: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for source in sorted(targets):
        ports.setdefault((source if distance[source] == 0 else -1, tuple(targets[source])), []).append(source)
    entries = [
        EntryPort(tuple(sources), boxes, straight >= 0, _all_skip(sketch, [(a, b) for a in sources for b in boxes]))
        for (straight, boxes), sources in ports.items()
    ]
    entries.sort(key=lambda entry: (entry.skip, not entry.straight, entry.sources))
    left = [entry for entry in entries[1:] if min(distance[source] for source in entry.sources) > NEAR_RANKS]
    return (*left, *(entry for entry in entries if entry not in left)), len(left)


def _all_skip(sketch: Sketch, edges: list[tuple[int, int]]) -> bool:
    return all(edge in sketch.skips for edge in edges)


def _ports_that_skip(sketch: Sketch, entries: tuple[EntryPort, ...], vertices: dict[int, int]) -> set[tuple[int, int]]:
    """Return the edges from ports to boxes all of whose sources reach the box by another path too."""
    return {
        (port, vertices[b])
        for port, entry in enumerate(entries)
        for b in entry.targets
        if _all_skip(sketch, [(a, b) for a in entry.sources])
    }
