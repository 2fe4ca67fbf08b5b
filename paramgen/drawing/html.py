"""A page as HTML: the SVG with zoom, search and details, in one file that loads nothing and runs only its script."""

import json
from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from paramgen.drawing.labels import printable
from paramgen.drawing.page import Page, page
from paramgen.drawing.svg import picture
from paramgen.graphs.schema import Graph, Node


def html(graph: Graph, title: str) -> str:
    """Return the picture of `graph` as an HTML document."""
    drawn = page(graph)
    script = _read("page.js")
    return Template(_read("page.html")).substitute(
        title=escape(printable(title)),
        # Names are the input of strangers: beside the escaping, a browser runs no script but the one of this digest.
        digest=b64encode(sha256(script.encode()).digest()).decode(),
        style=_read("page.css"),
        picture=picture(graph, drawn, title),
        data=_data(graph, drawn),
        script=script,
    )


def _read(name: str) -> str:
    return (files("paramgen.drawing") / name).read_text(encoding="utf-8")


def _data(graph: Graph, drawn: Page) -> str:
    """Return what the details show, as JSON that cannot end the script element it stands in."""
    nodes = [_details(node) for node in graph.nodes]
    for a, b in graph.edges.tolist():
        nodes[a]["out"].append(b)
        nodes[b]["in"].append(a)
    boxes = [list(box.nodes) for box in drawn.sketch.boxes]
    text = json.dumps({"boxes": boxes, "nodes": nodes}, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _details(node: Node) -> dict[str, Any]:
    attributes = {printable(str(key)): _value(value) for key, value in node.attributes.items()}
    return {
        "name": printable(node.name),
        "op": node.op,
        "slot": None if node.slot is None else printable(node.slot),
        "shape": list(node.shape),
        "attributes": attributes,
        "in": [],
        "out": [],
    }


def _value(value: object) -> str:
    return printable(", ".join(map(str, value)) if isinstance(value, tuple) else str(value))
