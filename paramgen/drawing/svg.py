"""A page as SVG: one file without outside references, readable in light and dark, all names escaped."""

from collections.abc import Iterator
from importlib.resources import files
from math import prod
from typing import Final
from xml.sax.saxutils import escape

from paramgen.drawing import labels
from paramgen.drawing.columns import Rect
from paramgen.drawing.interior import TWO_LINES, Face, Interior
from paramgen.drawing.page import Line, Page, page
from paramgen.drawing.vertices import Point
from paramgen.graphs.schema import Graph

MARGIN: Final = 24.0
HEADER: Final = 82.0
RADIUS: Final = 8.0
LEGEND: Final = (
    ("conv", "convolution"),
    ("linear", "linear"),
    ("embedding", "embedding"),
    ("recurrent", "recurrent"),
    ("norm", "norm"),
    ("parameter", "other parameter"),
    ("symbol", "operation"),
)


def svg(graph: Graph, title: str) -> str:
    """Return the picture of `graph` as an SVG document."""
    return picture(graph, page(graph), title)


def picture(graph: Graph, drawn: Page, title: str) -> str:
    """Return the SVG element of a page already laid out."""
    header, least = _header(graph, drawn, title)
    width, height = max(drawn.width, least) + 2 * MARGIN, drawn.height + HEADER + 2 * MARGIN
    shift = (width - drawn.width) / 2
    style = (files("paramgen.drawing") / "picture.css").read_text(encoding="utf-8")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="paramgen" viewBox="0 0 {_n(width)} {_n(height)}" '
        f'width="{_n(width)}" height="{_n(height)}" role="img" aria-label="{_text(title)}">',
        f"<title>{_text(title)}</title>",
        f"<style>{style}</style>",
        f"<defs>{_marker('tip', 8)}{_marker('skiptip', 10)}</defs>",
        f'<rect class="paper" width="{_n(width)}" height="{_n(height)}"/>',
        f'<g class="header" transform="translate({_n(MARGIN)} {_n(MARGIN)})">{header}</g>',
        f'<g class="drawing" transform="translate({_n(shift)} {_n(MARGIN + HEADER)})">',
        *(_background(rect) for rect in drawn.rects),
        *(_line(line) for line in sorted(drawn.lines, key=lambda line: line.skip)),
        *(
            _box(graph, drawn, it, box, origin)
            for it, origin in zip(drawn.interiors, drawn.origins, strict=True)
            for box in it.faces
        ),
        *(_heading(rect) for rect in drawn.rects),
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"


def _marker(name: str, size: int) -> str:
    """Return an arrow head."""
    return (
        f'<marker id="{name}" class="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="{size}" '
        f'markerHeight="{size}" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 .8 7.4 4 0 7.2z"/></marker>'
    )


def parameters(graph: Graph) -> int:
    """Return the number of parameters; a tied one counts once."""
    return sum(prod(graph.nodes[node].shape) for node in graph.nodes_of_slot().values())


def _header(graph: Graph, drawn: Page, title: str) -> tuple[str, float]:
    """Return title, figures and legend, and how wide they are."""
    title = labels.printable(title)
    figures = f"{len(graph):,} nodes · {parameters(graph):,} parameters · drawn by paramgen"
    parts = [f'<text class="title" y="18">{_text(labels.shorten(title, 70))}</text>']
    parts.append(f'<text class="figures" y="38">{figures}</text>')
    used, x = {box.kind for box in drawn.sketch.boxes}, 0.0
    for family, word in LEGEND:
        if family in used:
            parts.append(f'<g class="box {family}"><rect x="{_n(x)}" y="52" width="22" height="14" rx="4"/></g>')
            parts.append(f'<text class="word" x="{_n(x + 28)}" y="63">{word}</text>')
            x += 28 + len(word) * 7 + 16
    if drawn.sketch.skips:
        parts.append(
            f'<path class="wire skip" d="M{_n(x)} 59h26"/><text class="word" x="{_n(x + 32)}" y="63">skip</text>'
        )
        x += 80
    return "".join(parts), max(x, labels.columns(labels.shorten(title, 70)) * 12.0, len(figures) * 7.0)


def _background(rect: Rect) -> str:
    kind = "frame" if rect.framed else f"around level{rect.level}"
    return (
        f'<rect class="{kind}" x="{_n(rect.left)}" y="{_n(rect.top)}" width="{_n(rect.right - rect.left)}" '
        f'height="{_n(rect.bottom - rect.top)}" rx="8"/>'
    )


def _heading(rect: Rect) -> str:
    """Return the label of a frame, above all wires; the halo of its style keeps it readable there."""
    kind, room = "frame" if rect.framed else "around", int((rect.right - rect.left - 16) / 6.9)
    label = labels.shorten(labels.printable(rect.label), max(room, 3))
    full = _text(labels.printable(".".join(rect.module)))
    place = f'x="{_n(rect.left + 9)}" y="{_n(rect.top + 14)}"'
    return f'<text class="heading {kind}" {place}>{_text(label)}<title>{full}</title></text>'


def _box(graph: Graph, drawn: Page, it: Interior, box: int, origin: Point) -> str:
    """Return one box with its texts; the tooltip has the full names."""
    face, drawn_box = it.faces[box], drawn.sketch.boxes[box]
    left, top = it.box_at(box)
    x, y = left + origin[0], top + origin[1]
    corner = face.height / 2 if drawn_box.kind in ("symbol", "end") else 5.0
    texts = "".join(_words(face))
    tip = "\n".join(_tip(graph, node) for node in drawn_box.nodes)
    return (
        f'<g class="box {drawn_box.kind}" data-box="{box}" transform="translate({_n(x)} {_n(y)})">'
        f'<title>{_text(tip)}</title><rect width="{_n(face.width)}" height="{_n(face.height)}" rx="{_n(corner)}"/>'
        f"{texts}</g>"
    )


def _words(face: Face) -> Iterator[str]:
    """Yield the texts of a box. Each stands by its baseline: not every viewer can centre a text by its height."""
    middle, half = _n(face.width / 2), face.height / 2
    if not face.name:
        kind, drop = ("sign", 6) if len(face.detail) == 1 else ("word", 3.7)
        yield f'<text class="{kind}" x="{middle}" y="{_n(half + drop)}">{_text(face.detail)}</text>'
    elif face.height < TWO_LINES:
        yield f'<text class="name left" x="8" y="{_n(half + 4)}">{_text(face.name)}</text>'
        yield f'<text class="detail right" x="{_n(face.width - 8)}" y="{_n(half + 3.6)}">{_text(face.detail)}</text>'
    else:
        yield f'<text class="name" x="{middle}" y="16">{_text(face.name)}</text>'
        yield f'<text class="detail" x="{middle}" y="29.5">{_text(face.detail)}</text>'


def _tip(graph: Graph, index: int) -> str:
    node = graph.nodes[index]
    return labels.printable(f"{node.slot or node.name} · {node.op} {labels.sizes(node.shape)}")


def _line(line: Line) -> str:
    """Return a wire as one path, around corners or in smooth steps."""
    points = _deduplicated(line.points)
    path = _curve(points) if line.curved else _corners(points)
    tip = f' marker-end="url(#{"skiptip" if line.skip else "tip"})"' if line.arrow else ""
    ends = f'data-from="{" ".join(map(str, line.sources))}" data-to="{" ".join(map(str, line.targets))}"'
    return f'<path class="wire{" skip" if line.skip else ""}{"" if line.arrow else " way"}" {ends} d="{path}"{tip}/>'


def _deduplicated(points: tuple[Point, ...]) -> list[Point]:
    result = [points[0]]
    for point in points[1:]:
        if abs(point[0] - result[-1][0]) + abs(point[1] - result[-1][1]) > 0.05:
            result.append(point)
    return result


def _curve(points: list[Point]) -> str:
    parts = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    for (x, y), (far_x, far_y) in zip(points, points[1:], strict=False):
        if abs(x - far_x) < 0.5:
            parts.append(f"L{_n(far_x)} {_n(far_y)}")
        else:
            middle = _n((y + far_y) / 2)
            parts.append(f"C{_n(x)} {middle} {_n(far_x)} {middle} {_n(far_x)} {_n(far_y)}")
    return "".join(parts)


def _corners(points: list[Point]) -> str:
    """Return a path along the points with rounded corners."""
    parts = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        start, end = _toward(corner, before), _toward(corner, after)
        parts.append(f"L{_n(start[0])} {_n(start[1])}Q{_n(corner[0])} {_n(corner[1])} {_n(end[0])} {_n(end[1])}")
    parts.append(f"L{_n(points[-1][0])} {_n(points[-1][1])}")
    return "".join(parts)


def _toward(corner: Point, other: Point) -> Point:
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = max(abs(dx) + abs(dy), 1e-9)
    step = min(RADIUS, length / 2) / length
    return corner[0] + dx * step, corner[1] + dy * step


def _n(value: float) -> str:
    """Return a coordinate in tenths of a pixel, without a needless `.0` or `-0`."""
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")


def _text(text: str) -> str:
    return escape(labels.printable(text), {'"': "&quot;", "'": "&#39;"})
