"""Our graph as a `Data` of torch_geometric."""

import numpy as np
import pytest

from paramgen.graphs.geometric import to_data
from paramgen.graphs.ops import VOCABULARY
from paramgen.graphs.schema import Graph, Node

pytestmark = pytest.mark.slow  # importing torch_geometric takes seconds


def test_every_field_is_there() -> None:
    nodes = (
        Node(op="input", name="input", shape=(2, 3, 8, 8)),
        Node(op="conv", name="c.weight", slot="c.weight", shape=(4, 3, 3, 3)),
        Node(op="mean", name="mean"),
    )
    data = to_data(Graph(nodes, np.array([[0, 1], [1, 2]], dtype=np.int64), "test"))
    assert [VOCABULARY[index] for index in data.x.tolist()] == ["input", "conv", "mean"]
    assert data.edge_index.tolist() == [[0, 1], [1, 2]]
    assert data.shape.tolist() == [[2, 3, 8, 8, 0, 0, 0, 0], [4, 3, 3, 3, 0, 0, 0, 0], [0] * 8]
    assert data.name == ["input", "c.weight", "mean"]
    assert data.num_nodes == 3 and not data.has_self_loops() and data.validate()


def test_a_graph_without_edges_has_an_empty_edge_index() -> None:
    data = to_data(Graph((Node(op="input", name="x"),), np.zeros((0, 2), dtype=np.int64), "test"))
    assert tuple(data.edge_index.shape) == (2, 0)
