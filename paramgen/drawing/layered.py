"""The layout inside one frame: rows by longest path, order by barycenters, straight strands, lanes beside the boxes.

The steps are those of Sugiyama, Tagawa & Toda (1981, doi:10.1109/TSMC.1981.4308636); as in Brandes & Köpf (2001,
doi:10.1007/3-540-45848-4_3) what can be straight is aligned first and moves as one. We looked for a library before:
networkx orders layers but neither reduces crossings nor routes edges, grandalf (GPL or EPL, "under development")
knows no frames and no lanes beside them, and Graphviz is a program that not every machine has.
"""

from typing import Final

from paramgen.drawing.lanes import draw_lanes
from paramgen.drawing.strands import spine, spread
from paramgen.drawing.vertices import WIRE_LANE, Layered, Vertex, Wire, mean, neighbours

GAP: Final = 18.0
MAX_ABREAST: Final = 4
LAYER_SWEEPS: Final = 8


def place(layout: Layered) -> None:
    """Lay out the vertices and route the edges."""
    _rank(layout)
    lanes = _aside(layout)
    chains = [_bent(layout, a, b) for a, b in layout.edges if (a, b) not in lanes]
    links = [(a, b) for chain in chains for a, b in zip(chain, chain[1:], strict=False)]
    soft = {link for chain in chains if (chain[0], chain[-1]) in layout.skips for link in zip(chain, chain[1:])}  # noqa: B905
    _order(layout, links)
    spread(layout, links, soft)
    _rows(layout, links)
    layout.wires = [_through(layout, chain) for chain in chains]
    layout.measure()
    draw_lanes(layout, sorted(lanes))
    layout.measure()


def _aside(layout: Layered) -> set[tuple[int, int]]:
    """Return the edges that take a lane: past a row, at a port or along the spine; a skip in a branch stays there."""
    hard = [edge for edge in layout.edges if edge not in layout.skips]
    held = spine(layout, hard) | set(range(layout.entries))
    held |= {vertex for vertex in range(len(layout.vertices) - layout.exits, len(layout.vertices))}
    far = {(a, b) for a, b in layout.aside if layout.vertices[b].row - layout.vertices[a].row > 1}
    return {(a, b) for a, b in far if (a, b) not in layout.skips or {a, b} <= held}


def _bent(layout: Layered, a: int, b: int) -> list[int]:
    """Return the edge as a chain with one bend in every row it passes."""
    chain = [a]
    for row in range(layout.vertices[a].row + 1, layout.vertices[b].row):
        layout.vertices.append(Vertex(WIRE_LANE / 2, WIRE_LANE / 2, 0.0, row=row, bend=True))
        chain.append(len(layout.vertices) - 1)
    return [*chain, b]


def _rows(layout: Layered, links: list[tuple[int, int]]) -> None:
    """Stack the rows; a gap grows with the widest step that an edge takes in it."""
    widest = [0.0] * len(layout.rows)
    for a, b in links:
        first, second = layout.vertices[a], layout.vertices[b]
        widest[first.row] = max(widest[first.row], abs(first.x - second.x))
    y = 0.0
    for row, inside in enumerate(layout.rows):
        height = max(layout.vertices[vertex].height for vertex in inside)
        layout.tops.append(y)
        layout.heights.append(height)
        last = row + 2 == len(layout.rows) and layout.exits and widest[row] < 1
        y += height + (6 if last else GAP + min(26.0, widest[row] / 8) if row + 1 < len(layout.rows) else 0)
    layout.height = y


def _through(layout: Layered, chain: list[int]) -> Wire:
    """Draw a chain: steps between the rows, straight through them."""
    a, b = chain[0], chain[-1]
    points = [(layout.vertices[a].x, layout.bottom(a))]
    if layout.bottom(a) < layout.tops[layout.vertices[a].row] + layout.heights[layout.vertices[a].row]:
        points.append(
            (layout.vertices[a].x, layout.tops[layout.vertices[a].row] + layout.heights[layout.vertices[a].row])
        )
    for bend in chain[1:-1]:
        row, x = layout.vertices[bend].row, layout.vertices[bend].x
        points += [(x, layout.tops[row]), (x, layout.tops[row] + layout.heights[row])]
    if layout.top(b) > layout.tops[layout.vertices[b].row]:
        points.append((layout.vertices[b].x, layout.tops[layout.vertices[b].row]))
    points.append((layout.vertices[b].x, layout.top(b)))
    return Wire(a, b, tuple(points), (a, b) in layout.skips, True)


def _rank(layout: Layered) -> None:
    """Give every vertex a row below its sources, at most `MAX_ABREAST` boxes to a row, the ports outermost."""
    ends = len(layout.vertices)
    sources: dict[int, list[int]] = {}
    targets: dict[int, list[int]] = {}
    for a, b in layout.edges:
        sources.setdefault(b, []).append(a)
        targets.setdefault(a, []).append(b)
    first = 1 if layout.entries else 0
    filled: dict[int, int] = {}
    boxes = range(layout.entries, ends - layout.exits)
    for vertex in boxes:
        row = max((layout.vertices[source].row + 1 for source in sources.get(vertex, [])), default=first)
        while filled.get(row, 0) >= MAX_ABREAST:
            row += 1
        filled[row] = filled.get(row, 0) + 1
        layout.vertices[vertex].row = row
    for vertex in reversed(boxes):
        # A parameter hangs right above its use, not at the top of the frame.
        if vertex not in sources and vertex in targets:
            row = (
                min((layout.vertices[b].row for b in targets[vertex] if b < ends - layout.exits), default=first + 1) - 1
            )
            if filled.get(row, 0) < MAX_ABREAST:
                layout.vertices[vertex].row = max(row, layout.vertices[vertex].row)
    last = max((layout.vertices[vertex].row for vertex in boxes), default=0) + 1
    for vertex in range(ends - layout.exits, ends):
        layout.vertices[vertex].row = last


def _order(layout: Layered, links: list[tuple[int, int]]) -> None:
    """Order every row by the mean position of the neighbours, downwards and upwards in turn."""
    used = sorted({vertex.row for vertex in layout.vertices})
    dense = {row: place for place, row in enumerate(used)}
    layout.rows = [[] for _ in used]
    for index, vertex in enumerate(layout.vertices):
        vertex.row = dense[vertex.row]
        layout.rows[vertex.row].append(index)
    above, below = neighbours(layout, links)
    place = {vertex: float(at) for row in layout.rows for at, vertex in enumerate(row)}
    for sweep in range(LAYER_SWEEPS):
        near = below if sweep % 2 else above
        for row in reversed(layout.rows) if sweep % 2 else layout.rows:
            row.sort(key=lambda v: (mean([place[u] for u in near[v]], place[v]), place[v]))  # noqa: B023
            for at, index in enumerate(row):
                place[index] = float(at) - (len(row) - 1) / 2
