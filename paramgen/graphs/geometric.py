"""A graph as a `torch_geometric.data.Data`, to train on; torch_geometric is the extra `train`."""

from typing import TYPE_CHECKING

import torch

from paramgen._optional import require
from paramgen.graphs.ops import INDEX
from paramgen.graphs.schema import MAX_DIMENSIONS, Graph

if TYPE_CHECKING:
    from torch_geometric.data import Data


def to_data(graph: Graph) -> "Data":
    """Return a `Data` of the graph.

    Shapes:
        x: (nodes,) the operation's index in `ops.VOCABULARY`.
        shape: (nodes, 8) sizes, zero where a node has fewer dimensions.
        edge_index: (2, edges) source and destination.
        name: list of the nodes' names.

    Raises:
        MissingPackageError: torch_geometric is not installed.
    """
    data = require("torch_geometric.data", extra="train").Data  # now: importing it takes seconds
    shapes = torch.zeros(len(graph), MAX_DIMENSIONS, dtype=torch.long)
    for row, node in zip(shapes, graph.nodes, strict=True):
        row[: len(node.shape)] = torch.tensor(node.shape, dtype=torch.long)
    converted: Data = data(
        x=torch.tensor([INDEX[node.op] for node in graph.nodes]),
        edge_index=torch.from_numpy(graph.edges.T.copy()),
        shape=shapes,
        name=[node.name for node in graph.nodes],
        num_nodes=len(graph),
    )
    return converted
