"""Our graph as a `Data` of torch_geometric."""

import sys

import numpy as np
import pytest

from paramgen.errors import MissingPackageError
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


class Absent:
    """Stands first among Python's finders and knows that torch_geometric is nowhere."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "torch_geometric":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_without_torch_geometric_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch_geometric"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent, *sys.meta_path])
    with pytest.raises(MissingPackageError, match=r"pip install '\.\[train\]'"):
        to_data(Graph((Node(op="input", name="x"),), np.zeros((0, 2), dtype=np.int64), "test"))
