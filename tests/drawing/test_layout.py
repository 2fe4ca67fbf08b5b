import random
import sys
from collections.abc import Callable

import numpy as np
import pytest

from paramgen.drawing import draw_svg
from paramgen.drawing.boxes import sketch
from paramgen.drawing.frames import frames
from paramgen.drawing.page import Page, page
from paramgen.graphs.schema import Graph, Node

PARAMETERS = ("conv", "linear", "batch_norm", "bias", "embedding", "parameter", "recurrent")
OPERATIONS = ("sum", "relu", "concat", "softmax", "other", "multiply", "input", "output")


def wild(seed: int, count: int) -> Graph:
    """Any operation anywhere, modules that come back, edges near and far, boxes without edges."""
    rng = random.Random(seed)
    depth, fan, nodes, edges = rng.randint(0, 4), rng.randint(1, 4), [], set()
    for index in range(count):
        module = ".".join(rng.choice(("a", "b0", "b1", "c.0", "c.1")) for _ in range(rng.randint(0, depth)))
        if rng.random() < 0.4:
            name = f"{module}.w{index}.weight".lstrip(".")
            nodes.append(Node(op=rng.choice(PARAMETERS), name=name, slot=name, shape=(4, 3)))
        else:
            nodes.append(Node(op=rng.choice(OPERATIONS), name=f"{module}/f{index}", shape=(1, 3)))
        for _ in range(rng.randint(0, fan) if index else 0):
            edges.add((rng.randrange(max(0, index - rng.choice((1, 3, 8, 50))), index), index))
    return Graph(tuple(nodes), np.array(sorted(edges), dtype=np.int64).reshape(-1, 2), "a test")


def rectangles(drawn: Page) -> list[tuple[float, float, float, float]]:
    found = []
    for it, (x, y) in zip(drawn.interiors, drawn.origins, strict=True):
        for box, face in it.faces.items():
            left, top = it.box_at(box)
            found.append((x + left, y + top, x + left + face.width, y + top + face.height))
    return sorted(found)


def overlapping(drawn: Page) -> int:
    boxes, found = rectangles(drawn), 0
    for at, (_, top, right, bottom) in enumerate(boxes):
        for other_left, other_top, _, other_bottom in boxes[at + 1 :]:
            if other_left >= right:
                break
            found += top < other_bottom - 0.01 and other_top < bottom - 0.01
    return found


@pytest.mark.parametrize("seed", range(12))
def test_boxes_never_overlap_and_nothing_leaves_the_page(seed: int) -> None:
    drawn = page(wild(seed, 1 + seed * 6))
    boxes = rectangles(drawn)
    assert len(boxes) == len(drawn.sketch.boxes)
    assert overlapping(drawn) == 0
    corners = [(box[0], box[1]) for box in boxes] + [(box[2], box[3]) for box in boxes]
    for x, y in corners + [point for line in drawn.lines for point in line.points]:
        assert -1 <= x <= drawn.width + 1
        assert -1 <= y <= drawn.height + 1


def test_every_edge_is_drawn(residual: Callable[..., Graph]) -> None:
    for graph in (residual(9), wild(3, 60)):
        drawn = page(graph)
        ways = {(a, b) for line in drawn.lines for a in line.sources for b in line.targets}
        assert ways >= set(drawn.sketch.edges)


def test_a_weight_and_its_bias_are_one_box(residual: Callable[..., Graph]) -> None:
    graph = residual(1)
    merged = [{graph.nodes[node].name for node in box.nodes} for box in sketch(graph).boxes]
    assert {"layer1.0.bn1.weight", "layer1.0.bn1.bias"} in merged
    assert {"fc.weight", "fc.bias"} in merged
    assert {"layer1.0.conv1.weight"} in merged


def test_a_bias_that_others_share_keeps_its_box(chain: Callable[..., Graph]) -> None:
    nodes = [
        Node(op="linear", name="fc.weight", slot="fc.weight", shape=(2, 2)),
        Node(op="bias", name="fc.bias", slot="fc.bias", shape=(2,)),
        Node(op="sum", name="/add", shape=(2,)),
    ]
    assert len(sketch(chain(nodes, ((0, 2),))).boxes) == 3


def test_residual_edges_are_skips_that_bow_aside(residual: Callable[..., Graph]) -> None:
    drawn = page(residual(3))
    assert len(drawn.sketch.skips) == 3
    for line in drawn.lines:
        if line.skip and line.arrow:
            (x, _), (end, _) = line.points[0], line.points[-1]
            assert max(px for px, _ in line.points) > max(x, end) + 80  # past the half of a box, around it


def test_downsampling_branches_and_chains_are_no_skips(chain: Callable[..., Graph]) -> None:
    nodes = [Node(op="relu", name=f"/f{at}", shape=(1,)) for at in range(6)]
    assert not sketch(chain(nodes)).skips
    fork = Graph(tuple(nodes[:4]), np.array([[0, 1], [0, 2], [1, 3], [2, 3]]), "a test")
    assert not sketch(fork).skips


def test_repeated_blocks_get_frames_and_their_stage_stands_around(residual: Callable[..., Graph]) -> None:
    parts = frames(sketch(residual(4)))
    assert [".".join(part.module) for part in parts if part.framed] == [f"layer1.{block}" for block in range(4)]
    assert {part.around for part in parts if part.framed} == {(("layer1",),)}


def test_parallel_branches_stay_in_one_frame() -> None:
    nodes, edges = [Node(op="relu", name="/relu", shape=(1,))], []
    for branch in range(3):
        for at in range(4):
            name = f"mixed.branch{branch}.{at}.weight"
            nodes.append(Node(op="linear", name=name, slot=name, shape=(2, 2)))
            edges.append((0 if at == 0 else len(nodes) - 2, len(nodes) - 1))
    nodes.append(Node(op="concat", name="mixed/cat", shape=(1,)))
    edges += [(4, 13), (8, 13), (12, 13)]
    graph = Graph(tuple(nodes), np.array(sorted(edges)), "a test")
    assert [part.module for part in frames(sketch(graph)) if part.framed] == [("mixed",)]


def test_the_page_is_neither_a_tower_nor_a_ribbon(residual: Callable[..., Graph]) -> None:
    drawn = page(residual(24))
    assert 0.9 < drawn.width / drawn.height < 2.5


def test_columns_read_downwards_then_rightwards(residual: Callable[..., Graph]) -> None:
    origins = page(residual(24)).origins
    for (x, y), (next_x, next_y) in zip(origins, origins[1:], strict=False):
        assert next_x > x or (next_x == x and next_y > y)


def calls_to_draw(graph: Graph) -> int:
    """Count the functions that drawing calls: its work, whatever else the machine does."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        draw_svg(graph, title="large")
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.slow
def test_twice_the_nodes_are_about_twice_the_work() -> None:
    half, whole = (calls_to_draw(wild(1, nodes)) for nodes in (750, 1500))
    assert whole < 3 * half  # four times would be a square
