import numpy as np
import pytest
import torch
from torch import nn

from paramgen.errors import GraphError
from paramgen.graphs.ops import INDEX
from paramgen.graphs.schema import Graph, Node
from paramgen.graphs.views.native import native_view
from paramgen.graphs.views.view import SlotRequest
from paramgen.slots.manifest import Manifest, read_manifest


class Network(nn.Module):
    """One slot of every sort."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.up = nn.ConvTranspose2d(4, 2, 3)
        self.conv3d = nn.Conv3d(1, 2, 3)
        self.mixer = nn.Parameter(torch.empty(4, 6))
        self.empty = nn.Parameter(torch.empty(3, 0))
        self.counts = nn.Parameter(torch.zeros(2, 2, dtype=torch.int64), requires_grad=False)
        self.token = nn.Parameter(torch.empty(1, 1, 4))


NODES = (
    Node(op="input", name="input"),
    Node(op="embedding", name="embed.weight", slot="embed.weight", shape=(7, 4)),
    Node(op="conv", name="conv.weight", slot="conv.weight", shape=(4, 3, 3, 3)),
    Node(op="bias", name="conv.bias", slot="conv.bias", shape=(4,)),
    Node(op="batch_norm", name="norm.weight", slot="norm.weight", shape=(4,)),
    Node(op="bias", name="norm.bias", slot="norm.bias", shape=(4,)),
    Node(op="max_pool", name="pool", shape=(1, 4, 9, 9), attributes={"kernel": (3, 2)}),
    Node(op="linear", name="mixer", slot="mixer", shape=(4, 6), attributes={"layout": "in_out"}),
    Node(op="transposed_conv", name="up.weight", slot="up.weight", shape=(4, 2, 3, 3)),
    Node(op="conv", name="conv3d.weight", slot="conv3d.weight", shape=(2, 1, 3, 3, 3)),
    Node(op="linear", name="empty", slot="empty", shape=(3, 0)),
    Node(op="linear", name="counts", slot="counts", shape=(2, 2)),
    Node(op="parameter", name="token", slot="token", shape=(1, 1, 4)),
    Node(op="linear", name="embed.weight", slot="embed.weight", shape=(7, 4)),
    Node(op="relu", name="relu", shape=(1, 4)),
)


@pytest.fixture
def graph() -> Graph:
    edges = np.stack([np.arange(len(NODES) - 1), np.arange(1, len(NODES))], axis=1).astype(np.int64)
    return Graph(NODES, edges, "test")


@pytest.fixture
def manifest() -> Manifest:
    return read_manifest(Network(), {})


def test_distances_are_left_out_where_nobody_reads_them(graph: Graph, manifest: Manifest) -> None:
    view, without = native_view(graph, manifest), native_view(graph, manifest, cutoff=None)
    assert view.distances.shape == (len(NODES), len(NODES)) and without.distances.numel() == 0
    assert without.requests == view.requests


def test_requests_what_a_hypernet_can_fill_and_nothing_else(graph: Graph, manifest: Manifest) -> None:
    assert native_view(graph, manifest).requests == (
        SlotRequest("conv.weight", 2, "weight", (4, 3, 3, 3)),
        SlotRequest("conv.bias", 3, "bias", (4,)),
        SlotRequest("norm.weight", 4, "scale", (4,)),
        SlotRequest("norm.bias", 5, "bias", (4,)),
        SlotRequest("mixer", 7, "weight", (4, 6), in_out=True),
    )


def test_shows_parameters_as_out_in_and_pools_by_their_window(graph: Graph, manifest: Manifest) -> None:
    shapes = native_view(graph, manifest).shapes
    assert shapes[0] is None and shapes[14] is None
    assert shapes[2] == (4, 3, 3, 3)
    assert shapes[6] == (1, 1, 3, 2)
    assert shapes[7] == (6, 4)


def test_distances_and_primitives_follow_the_node_order(graph: Graph, manifest: Manifest) -> None:
    view = native_view(graph, manifest, cutoff=4)
    assert view.primitives.tolist() == [INDEX[node.op] for node in NODES]
    assert view.distances[0, :7].tolist() == [0, 1, 2, 3, 4, 0, 0]
    assert view.vocabulary == "native"


def test_refuses_a_graph_of_another_network(graph: Graph) -> None:
    with pytest.raises(GraphError, match=r"'embed.weight', which is no slot"):
        native_view(graph, read_manifest(nn.Linear(2, 2), {}))
