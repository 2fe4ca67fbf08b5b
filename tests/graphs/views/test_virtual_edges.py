import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paramgen.errors import GraphError
from paramgen.graphs.views.virtual_edges import virtual_edges


@st.composite
def forward_graphs(draw: st.DrawFn) -> tuple[int, np.ndarray]:
    nodes = draw(st.integers(1, 12))
    pairs = [(source, target) for target in range(nodes) for source in range(target)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return nodes, np.array(chosen, dtype=np.int64).reshape(-1, 2)


@settings(max_examples=50, deadline=None)
@given(forward_graphs(), st.integers(1, 5))
def test_equals_breadth_first_search(graph: tuple[int, np.ndarray], cutoff: int) -> None:
    nodes, edges = graph
    reference = networkx.DiGraph()
    reference.add_nodes_from(range(nodes))
    reference.add_edges_from(edges.tolist())
    expected = np.zeros((nodes, nodes), dtype=np.uint8)
    for source, lengths in networkx.all_pairs_shortest_path_length(reference, cutoff=cutoff):
        for target, length in lengths.items():
            expected[source, target] = length
    assert (virtual_edges(edges, nodes, cutoff) == expected).all()


def test_a_long_chain_ends_at_the_cutoff() -> None:
    edges = np.stack([np.arange(399), np.arange(1, 400)], axis=1)
    distances = virtual_edges(edges, 400, 254)
    assert distances[0, 254] == 254
    assert distances[0, 255] == 0
    assert distances.dtype == np.uint8 and distances.flags.c_contiguous


@pytest.mark.parametrize("edge", [(2, 1), (1, 1), (0, 3), (-1, 2)])
def test_refuses_edges_that_are_not_forward(edge: tuple[int, int]) -> None:
    with pytest.raises(GraphError, match=r"Edge \[.*sort the graph first"):
        virtual_edges(np.array([[0, 1], edge]), 3, 50)


@pytest.mark.parametrize("cutoff", [0, 255])
def test_refuses_cutoffs_that_do_not_fit(cutoff: int) -> None:
    with pytest.raises(GraphError, match="1 to 254"):
        virtual_edges(np.zeros((0, 2), dtype=np.int64), 3, cutoff)
