"""The schema: a graph that stands is a graph that holds every promise."""

import numpy as np
import pytest

from paramgen.errors import GraphError
from paramgen.graphs import schema
from paramgen.graphs.ops import INDEX, NORMS, VOCABULARY, WEIGHT_OPS
from paramgen.graphs.schema import Graph, Node

NODES = (
    Node(op="input", name="input"),
    Node(op="linear", name="a", slot="a", shape=(2, 2)),
    Node(op="linear", name="a", slot="a", shape=(2, 2)),
    Node(op="parameter", name="b", slot="b", shape=(2,)),
)


def graph(*edges: tuple[int, int], nodes: tuple[Node, ...] = NODES) -> Graph:
    return Graph(nodes, np.array(edges, dtype=np.int64).reshape(-1, 2), "test")


def test_knows_first_uses_and_what_is_unreachable() -> None:
    made = graph((0, 1), (1, 2))
    assert len(made) == 4
    assert made.nodes_of_slot() == {"a": 1, "b": 3}
    assert made.unreachable() == ["b"]
    assert graph().unreachable() == ["a", "a", "b"]


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([(1, 0)], "runs backwards"),
        ([(1, 1)], "runs backwards"),
        ([(0, 4)], "leaves the 4 nodes"),
        ([(-1, 1)], "leaves the 4 nodes"),
        ([(0, 1), (0, 1)], "given twice"),
    ],
)
def test_edges_go_forward_once(edges: list[tuple[int, int]], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        graph(*edges)


@pytest.mark.parametrize("shape", [(-1,), (1,) * 9, (10**6, 10**6), (10**400,), (10**6, 10**6, 0)])
def test_shapes_have_limits(shape: tuple[int, ...]) -> None:
    if 0 in shape:  # nothing in it: no matter how long the other sides
        assert len(graph(nodes=(Node(op="input", name="x", shape=shape),))) == 1
        return
    with pytest.raises(GraphError):
        graph(nodes=(Node(op="input", name="x", shape=shape),))


def test_nodes_and_edges_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GraphError, match="1 to 100000 nodes"):
        graph(nodes=())
    monkeypatch.setattr(schema, "MAX_NODES", 3)
    with pytest.raises(GraphError, match="4 nodes"):
        graph()
    monkeypatch.setattr(schema, "MAX_NODES", 4)
    monkeypatch.setattr(schema, "MAX_EDGES", 1)
    with pytest.raises(GraphError, match="2 edges"):
        graph((0, 1), (1, 2))


def test_operations_are_of_the_vocabulary() -> None:
    with pytest.raises(GraphError, match="unknown operation 'conv9'"):
        graph(nodes=(Node(op="conv9", name="x"),))


def test_the_vocabulary_keeps_its_order() -> None:
    """Append only: shipped hypernets were trained on these indices."""
    assert VOCABULARY[:8] == (
        "input",
        "output",
        "conv",
        "depthwise_conv",
        "dilated_conv",
        "transposed_conv",
        "linear",
        "embedding",
    )
    assert (INDEX["parameter"], INDEX["sum"], INDEX["attention"], INDEX["other"]) == (15, 16, 21, 35)
    assert len(INDEX) == len(VOCABULARY)
    assert set(VOCABULARY) > WEIGHT_OPS | NORMS
