"""Virtual edges of any graph, also one with cycles, which the published code makes of a few networks."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64, UInt8

from paramgen.errors import GraphError
from paramgen.graphs.views.virtual_edges import MAX_CUTOFF, virtual_edges


def distances(edges: Int64[np.ndarray, "edges 2"], nodes: int, cutoff: int) -> UInt8[np.ndarray, "nodes nodes"]:
    """Return how far every node (row) is from every other (column); 0 where that is more than `cutoff`, or no path.

    Raises:
        GraphError: The cutoff does not fit one byte.
    """
    if bool((edges[:, 0] < edges[:, 1]).all()):
        return virtual_edges(edges, nodes, cutoff)
    if not 1 <= cutoff <= MAX_CUTOFF:
        raise GraphError(f"A cutoff of {cutoff}; allowed are 1 to {MAX_CUTOFF}.")
    successors: list[list[int]] = [[] for _ in range(nodes)]
    for source, destination in edges.tolist():
        successors[source].append(destination)
    lengths = np.zeros((nodes, nodes), dtype=np.uint8)
    for node in range(nodes):
        _search(successors, node, cutoff, lengths[node])
    return lengths


def _search(successors: Sequence[Sequence[int]], start: int, cutoff: int, lengths: UInt8[np.ndarray, " nodes"]) -> None:
    """Write how far each node is from `start`, breadth first."""
    seen, frontier = {start}, [start]
    for length in range(1, cutoff + 1):
        frontier = list(dict.fromkeys(after for node in frontier for after in successors[node] if after not in seen))
        if not frontier:
            return
        seen.update(frontier)
        lengths[frontier] = length
