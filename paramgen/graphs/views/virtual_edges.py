"""Virtual edges: how far apart two nodes are in forward direction (GHN-2, Knyazev et al., 2021, arXiv:2110.13100)."""

from typing import Final

import numpy as np
from jaxtyping import Int64, UInt8

from paramgen.errors import GraphError

MAX_CUTOFF: Final = 254  # distances fit one byte, of which the largest value stands for "no path"
_NO_PATH: Final = 255


def virtual_edges(edges: Int64[np.ndarray, "edges 2"], nodes: int, cutoff: int) -> UInt8[np.ndarray, "nodes nodes"]:
    """Return the length of the shortest path from every node (row) to every other (column); 0 where it is > `cutoff`.

    Edges go from lower to higher indices, so every predecessor's distances are final when a node is reached.

    Raises:
        GraphError: The cutoff does not fit one byte.
    """
    if not 1 <= cutoff <= MAX_CUTOFF:
        raise GraphError(f"A cutoff of {cutoff}; allowed are 1 to {MAX_CUTOFF}.")
    predecessors = _predecessors(edges, nodes)
    towards = np.full((nodes, nodes), _NO_PATH, dtype=np.uint8)  # row = destination: one contiguous row per node
    for node, sources in enumerate(predecessors):
        if len(sources) > 0:
            nearest = towards[sources, :node].min(axis=0)
            towards[node, :node] = np.where(nearest < cutoff, nearest + np.uint8(1), np.uint8(_NO_PATH))
        towards[node, node] = 0
    towards[towards == _NO_PATH] = 0
    return np.ascontiguousarray(towards.T)


def _predecessors(edges: Int64[np.ndarray, "edges 2"], nodes: int) -> list[Int64[np.ndarray, " sources"]]:
    """Return the sources of every node's incoming edges."""
    backwards = edges[:, 0] >= edges[:, 1]
    outside = (edges < 0) | (edges >= nodes)
    if backwards.any() or outside.any():
        wrong = edges[backwards | outside.any(axis=1)][0].tolist()
        raise GraphError(f"Edge {wrong} of {nodes} nodes; edges go from lower to higher indices: sort the graph first.")
    order = np.argsort(edges[:, 1], kind="stable")
    counts = np.bincount(edges[:, 1], minlength=nodes)
    return np.split(edges[order, 0], np.cumsum(counts)[:-1])
