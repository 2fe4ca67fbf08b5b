import json
import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from paramgen.drawing import MAX_DRAWN_NODES, draw_html, draw_svg
from paramgen.errors import GraphError
from paramgen.graphs.schema import Graph, Node

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = (
    "<script>alert(1)</script>",
    "</title></svg><script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '" onload="alert(1)',
    "' onclick='alert(1)",
    "]]><!--",
    "&lt;b&gt;&#60;",
    "a\x00b\ud800c\u202ed\ufffe\x1b[31m",
    "$title ${script}",
    "界" * 60,
    "n" * 5000,
    "." * 300,
)


def hostile(chain: Callable[..., Graph]) -> Graph:
    nodes = []
    for text in HOSTILE:
        nodes.append(Node(op="conv", name=f"{text}.weight", slot=f"{text}.weight", shape=(2, 2, 1, 1)))
        nodes.append(Node(op="other", name=f"{text}.m/{text}", shape=(1,), attributes={text: text, "kernel": text}))
        nodes.append(Node(op="max_pool", name=text, shape=(1,), attributes={"kernel": text, "stride": text}))
        nodes += [Node(op="relu", name=f"{text}.block/{text}{at}", shape=(1,)) for at in range(4)]
        nodes.append(Node(op="parameter", name=text, slot=text, shape=(2,)))
    return chain([*nodes, Node(op="input", name="<b>input</b>", shape=(1,))])


def test_svg_is_xml_and_names_every_slot(residual: Callable[..., Graph]) -> None:
    graph = residual(5)
    root = ElementTree.fromstring(draw_svg(graph, title="torchvision:resnet"))
    text = "\n".join(root.itertext())
    assert all(slot in text for slot in graph.nodes_of_slot())
    assert "torchvision:resnet" in text
    assert f"{len(graph)} nodes" in text


def test_svg_says_what_the_layers_are(residual: Callable[..., Graph]) -> None:
    drawn = draw_svg(residual(1), title="t")
    for words in ("conv 3×3 /2 16→16", "batch norm 16", "linear 16→10", "convolution", "skip"):
        assert words in drawn


def test_parameters_in_the_header_count_ties_once(chain: Callable[..., Graph]) -> None:
    nodes = [
        Node(op="embedding", name="tokens.weight", slot="tokens.weight", shape=(100, 10)),
        Node(op="linear", name="head.weight", slot="tokens.weight", shape=(100, 10)),
    ]
    assert "1,000 parameters" in draw_svg(chain(nodes), title="t")


def test_transposed_weights_are_read_the_right_way(chain: Callable[..., Graph]) -> None:
    nodes = [
        Node(op="linear", name="c_fc.weight", slot="c_fc.weight", shape=(768, 3072), attributes={"layout": "in_out"}),
        Node(op="transposed_conv", name="up.weight", slot="up.weight", shape=(64, 32, 2, 2), attributes={"stride": 2}),
        Node(op="conv", name="g.weight", slot="g.weight", shape=(64, 8, 3, 3), attributes={"groups": 4}),
    ]
    drawn = draw_svg(chain(nodes), title="t")
    assert "linear 768→3072" in drawn
    assert "transposed 2×2 /2 64→32" in drawn
    assert "conv 3×3 32→64 ·4 groups" in drawn


def test_residual_graphs_show_skip_wires_and_chains_do_not(
    residual: Callable[..., Graph], chain: Callable[..., Graph]
) -> None:
    wires = re.findall(r'class="wire skip', draw_svg(residual(3), title="t"))
    assert len(wires) == 3 + 1  # and the legend
    assert 'class="wire skip' not in draw_svg(chain([Node(op="relu", name=f"/{at}") for at in range(5)]), title="t")


def test_same_graph_same_bytes(residual: Callable[..., Graph]) -> None:
    assert draw_svg(residual(6), title="t") == draw_svg(residual(6), title="t")
    assert draw_html(residual(6), title="t") == draw_html(residual(6), title="t")


def assert_inert_svg(drawn: str) -> None:
    root = ElementTree.fromstring(drawn.encode())  # encodes: no lone surrogate is left
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "title", "style", "defs", "marker", "path", "rect", "g", "text"}
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on")]
    assert "\u202e" not in drawn
    assert "\x1b" not in drawn


def assert_inert_html(drawn: str) -> None:
    drawn.encode()
    assert drawn.lower().count("<script") == drawn.lower().count("</script") == 2
    assert "<b>" not in drawn
    assert "<!--" not in drawn


def test_hostile_names_are_inert(chain: Callable[..., Graph]) -> None:
    graph = hostile(chain)
    assert_inert_svg(draw_svg(graph, title="t"))
    drawn = draw_html(graph, title="t")
    assert_inert_html(drawn)
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', drawn, re.DOTALL)
    assert data is not None
    assert "<script>alert(1)</script>.weight" in [node["name"] for node in json.loads(data[1])["nodes"]]


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_titles_are_inert(title: str, chain: Callable[..., Graph]) -> None:
    graph = chain([Node(op="relu", name="/relu")])
    assert_inert_svg(draw_svg(graph, title=title))
    assert_inert_html(draw_html(graph, title=title))


def test_html_loads_nothing(residual: Callable[..., Graph]) -> None:
    drawn = draw_html(residual(2), title="t").replace("http://www.w3.org/2000/svg", "")
    assert not re.findall(r"https?://|@import|\bsrc=|\bhref=|url\((?!#)", drawn)
    assert "default-src 'none'" in drawn


def test_texts_fit_their_boxes(chain: Callable[..., Graph]) -> None:
    root = ElementTree.fromstring(draw_svg(hostile(chain), title="t").encode())
    shown = [
        text.text or "" for text in root.iter(f"{SVG}text") if text.get("class", "").split()[0] in ("name", "detail")
    ]
    assert max(map(len, shown)) <= 26
    assert any("…" in text for text in shown)


def test_one_node_is_a_picture(chain: Callable[..., Graph]) -> None:
    ElementTree.fromstring(draw_svg(chain([Node(op="parameter", name="w", slot="w")]), title="t"))


def test_parameters_that_nothing_reaches_are_drawn() -> None:
    nodes = [Node(op="conv", name=f"aux.{at}.weight", slot=f"aux.{at}.weight", shape=(1, 1, 1, 1)) for at in range(70)]
    drawn = draw_svg(Graph(tuple(nodes), np.zeros((0, 2), dtype=np.int64), "a test"), title="t")
    assert all(f"aux.{at}.weight" in drawn for at in range(70))


@pytest.mark.parametrize("draw", [draw_svg, draw_html])
def test_too_large_a_graph_is_refused_with_what_to_type(draw: Callable[..., str], chain: Callable[..., Graph]) -> None:
    graph = chain([Node(op="relu", name="/r")] * (MAX_DRAWN_NODES + 1))
    with pytest.raises(GraphError, match=r"20,001 nodes.*at most 20,000 nodes.*out='g\.json'") as caught:
        draw(graph, title="t")
    assert "\n" not in str(caught.value)
