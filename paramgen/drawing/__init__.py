"""Pictures of graphs: a standalone SVG, and an HTML page with zoom, search and details."""

from typing import Final

from paramgen.drawing.html import html
from paramgen.drawing.svg import svg
from paramgen.errors import GraphError
from paramgen.graphs.schema import Graph

__all__ = ["MAX_DRAWN_EDGES", "MAX_DRAWN_NODES", "draw_html", "draw_svg"]

MAX_DRAWN_NODES: Final = 20_000
MAX_DRAWN_EDGES: Final = 100_000


def draw_svg(graph: Graph, *, title: str) -> str:
    """Return `graph` as an SVG picture. The same graph and title give the same bytes."""
    _check(graph)
    return svg(graph, title)


def draw_html(graph: Graph, *, title: str) -> str:
    """Return `graph` as one HTML page that needs no network: the SVG with zoom, search and the details of each node."""
    _check(graph)
    return html(graph, title)


def _check(graph: Graph) -> None:
    if len(graph) > MAX_DRAWN_NODES or len(graph.edges) > MAX_DRAWN_EDGES:
        raise GraphError(
            f"The graph has {len(graph):,} nodes and {len(graph.edges):,} edges; a picture holds at most "
            f"{MAX_DRAWN_NODES:,} nodes and {MAX_DRAWN_EDGES:,} edges. Write it as data instead: --out g.json."
        )
