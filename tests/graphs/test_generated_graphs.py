"""Graphs that are no network's: whatever they are, they are filled or refused in one line."""

import json
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.serving.generated_graphs import generated
from benchmarks.serving.graph_fuzz import attempt, fillers, tried
from paramgen.errors import GraphError, OptionError, ParamgenError
from paramgen.graphs.analysis import roles
from paramgen.graphs.analysis.attention import attentions_of
from paramgen.graphs.analysis.model_family import family_of
from paramgen.graphs.analysis.neighbours import Neighbours
from paramgen.graphs.analysis.roles import linear_maps_of
from paramgen.graphs.graph_json import graph_from_json
from paramgen.graphs.schema import Graph, Node
from paramgen.initializers import initializer_of
from paramgen.prediction import prediction_of
from paramgen.slots.manifest import Manifest, Slot
from tests.graphs.test_graph_json import BASE

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torch warns of what no library draws


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(program=st.randoms(use_true_random=False), init=st.sampled_from(fillers()))
def test_any_graph_is_filled_or_refused(program: Random, init: str) -> None:
    assert tried(generated(program), init, None, seed=0)


@pytest.mark.parametrize("number", range(30))
def test_graphs_of_the_long_run(number: int) -> None:
    assert attempt(0, number)


def node(op: str, shape: list[int], slot: str | None = None, **attributes: Any) -> dict[str, Any]:
    return {"op": op, "name": slot or op, "slot": slot, "shape": shape, "attributes": attributes}


IMAGE = node("input", [2, 3, 8, 8])
TOKENS = node("input", [2, 5])
STEM = node("conv", [8, 3, 3, 3], "stem", stride=[1, 1])
OUTPUT = node("output", [2, 8])
CRASHES: dict[str, tuple[str, list[dict[str, Any]], list[list[int]]]] = {
    "a convolution of no shape": ("hypernet", [IMAGE, STEM, node("conv", [], "w"), OUTPUT], [[0, 1], [1, 2], [2, 3]]),
    "a side of zero": (
        "hypernet",
        [IMAGE, STEM, node("max_pool", [2, 8, 0, 0]), node("linear", [8, 8], "w"), OUTPUT],
        [[0, 1], [1, 2], [2, 3], [3, 4]],
    ),
    "an image of no size": (
        "hypernet",
        [node("input", [0, 3, 0, 0]), STEM, node("linear", [8, 8], "w")],
        [[0, 1], [1, 2]],
    ),
    "a bias behind nothing": ("hypernet", [TOKENS, node("bias", [8], "b"), node("sum", [2, 8])], [[1, 2]]),
    "a tanh of nothing": (
        "hypernet",
        [TOKENS, node("tanh", [2]), node("multiply", [2]), node("embedding", [9, 8], "w")],
        [[1, 2]],
    ),
    "a convolution that says it is stored transposed": (
        "hypernet",
        [IMAGE, STEM, node("conv", [8, 8, 3, 3], "w", layout="in_out"), node("linear", [8, 8], "head"), OUTPUT],
        [[0, 1], [1, 2], [2, 3], [3, 4]],
    ),
    "heads of no width": (
        "mimetic",
        [TOKENS, *(node("linear", [8, 8], name) for name in "qkv"), node("attention", [2, 2, 5, 0])],
        [[0, 1], [0, 2], [0, 3], [1, 4], [2, 4], [3, 4]],
    ),
    "queries and keys of inputs of other widths": (
        "mimetic",
        [TOKENS, node("linear", [12, 12], "q"), node("linear", [4, 4], "k"), node("linear", [4, 4], "v")]
        + [node("attention", [2, 3, 5, 4])],
        [[0, 1], [0, 2], [0, 3], [1, 4], [2, 4], [3, 4]],
    ),
    "a position table of an image without width": (
        "mimetic",
        [node("input", [2, 3, 8, 0]), STEM, node("parameter", [1, 16, 8], "table"), node("sum", [2, 16, 8])],
        [[0, 1], [1, 3], [2, 3]],
    ),
    "one weight for heads of no width": (
        "mimetic",
        [TOKENS, node("linear", [24, 8], "qkv"), node("attention", [2, 2, 5, 0])],
        [[0, 1], [1, 2]],
    ),
    "attention that nothing with a slot feeds": (
        "mup",
        [TOKENS, node("linear", [24, 8]), node("attention", [2, 2, 5, 4]), node("linear", [8, 8])],
        [[0, 1], [1, 2], [2, 3]],
    ),
    "attention before a map without a slot": (
        "mimetic",
        [TOKENS, node("linear", [24, 8], "qkv"), node("attention", [2, 2, 5, 4]), node("linear", [8, 8])],
        [[0, 1], [1, 2], [2, 3]],
    ),
}
REFUSED = {
    "no stride": node("transposed_conv", [8, 8, 3, 3], "w", stride=0),
    "strides of nothing": node("conv", [8, 8, 3, 3], "w", stride=[]),
    "a stride of zero among others": node("transposed_conv", [8, 8, 3, 3], "w", stride=[1, 0]),
    "a negative stride": node("transposed_conv", [8, 8, 3, 3], "w", stride=-1),
    "a negative kernel": node("max_pool", [2, 8, 3, 3], kernel=[-1, 2]),
    "a kernel of many sides": node("max_pool", [2, 8, 3, 3], kernel=[1] * 1000),
}


def graph_of(nodes: list[dict[str, Any]], edges: list[list[int]]) -> str:
    plain = {**BASE["slots"][0], "init_program": None}
    named = {item["slot"]: item["shape"] for item in nodes if item["slot"] is not None}
    slots = [{**plain, "name": name, "shape": shape} for name, shape in named.items()]
    return json.dumps({**BASE, "nodes": nodes, "edges": edges, "slots": slots})


@pytest.mark.parametrize("name", CRASHES)
def test_graphs_that_once_ended_a_start(name: str) -> None:
    init, nodes, edges = CRASHES[name]
    architecture, graph = graph_from_json(graph_of(nodes, edges))
    initializer = initializer_of(init)
    try:
        prediction = prediction_of(architecture, graph, initializer, init=init, seed=0, dtype=None)
    except OptionError as refusal:
        assert "fills nothing of" in str(refusal)
        return
    assert {name for name, _ in prediction} == {slot.name for slot in architecture.manifest.filled}


@pytest.mark.parametrize("name", REFUSED)
def test_steps_that_no_operation_takes_are_refused(name: str) -> None:
    with pytest.raises(GraphError, match="A node's '(kernel|stride)' is"):
        graph_from_json(graph_of([IMAGE, STEM, REFUSED[name]], [[0, 1], [1, 2]]))


@pytest.mark.parametrize("init", ["he", "xavier", "mup?std=1000&base=1000000", "orthogonal"])
def test_a_stride_beyond_the_kernel_leaves_finite_weights(init: str) -> None:
    nodes = [IMAGE, STEM, node("transposed_conv", [8, 8, 1, 1], "w", stride=[10**9] * 3)]
    architecture, graph = graph_from_json(graph_of(nodes, [[0, 1], [1, 2]]))
    prediction = prediction_of(architecture, graph, initializer_of(init), init=init, seed=0, dtype=None)
    assert all(bool(tensor.isfinite().all()) for _, tensor in prediction)


def network(nodes: list[Node], edges: list[tuple[int, int]]) -> tuple[Graph, Manifest]:
    slots = {node.slot: node.shape for node in nodes if node.slot is not None}
    made = tuple(
        Slot(name=name, shape=shape, dtype=torch.float32, kind="parameter", owner="", owner_type="")
        for name, shape in slots.items()
    )
    pairs = np.array(edges or np.empty((0, 2)), dtype=np.int64)
    return Graph(tuple(nodes), pairs, "hand"), Manifest(made)


def chain(count: int, op: str, *, slots: bool) -> tuple[list[Node], list[tuple[int, int]]]:
    """Return an image, a stem and `count` nodes, one after the other."""
    nodes = [Node(op="input", name="i", shape=(2, 3, 8, 8)), Node(op="conv", name="s", slot="s", shape=(8, 3, 3, 3))]
    for index in range(count):
        slot = f"w{index}" if slots else None
        nodes.append(Node(op=op, name=slot or op, slot=slot, shape=(8, 8)))
    return nodes, [(index, index + 1) for index in range(len(nodes) - 1)]


def test_long_chains_are_walked_once() -> None:
    """What took a time by the square of the nodes, or a frame of the stack for each, takes one by their number."""
    nodes, edges = chain(8000, "linear", slots=True)
    graph, manifest = network(nodes, edges)
    near = Neighbours(graph)
    assert near.mixes_tokens(len(nodes) - 1) is near.mixes_tokens(2)
    assert near.scale(len(nodes) - 1) == 0 and len(linear_maps_of(graph, manifest)) == 8001
    assert family_of(graph) == "other" and not attentions_of(graph, manifest)


def test_what_many_weights_have_ahead_is_walked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    plain = Neighbours._next

    def counted(self: Neighbours, *args: Any, **keywords: Any) -> Any:
        nonlocal steps
        steps += 1
        return plain(self, *args, **keywords)

    monkeypatch.setattr(Neighbours, "_next", counted)
    nodes, edges = chain(2000, "other", slots=False)
    weights = [Node(op="linear", name=f"w{index}", slot=f"w{index}", shape=(8, 8)) for index in range(1000)]
    tail = len(weights)
    graph, _ = network(
        [*weights, *nodes],
        [*((index, tail + 2) for index in range(1000)), *((one + tail, two + tail) for one, two in edges)],
    )
    near = Neighbours(graph)
    assert {near.ahead(index) for index in range(1000)} == {"none"}
    assert steps <= 8 * len(graph)


def test_paths_that_no_network_has_are_refused_instead_of_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind one long branch, every sum adds what is at its beginning: each would be followed back to there."""
    monkeypatch.setattr(roles, "STEPS_AT_LEAST", 0)
    nodes, edges = chain(400, "other", slots=False)
    weight = len(nodes)
    nodes.append(Node(op="linear", name="w", slot="w", shape=(8, 8)))
    nodes += [Node(op="sum", name="sum", shape=(2, 8)) for _ in range(200)]
    edges.append((weight - 1, weight))
    edges += [edge for at in range(weight + 1, len(nodes)) for edge in ((2, at), (weight, at))]
    graph, manifest = network(nodes, sorted(edges))
    with pytest.raises(ParamgenError, match="takes too long"):
        linear_maps_of(graph, manifest)


def test_more_heads_than_any_network_has_are_no_attention() -> None:
    nodes = [Node(op="input", name="i", shape=(2, 5))]
    nodes += [Node(op="linear", name=name, slot=name, shape=(10**9, 4)) for name in "qkv"]
    nodes.append(Node(op="attention", name="a", shape=(2, 10**9, 5, 1)))
    graph, manifest = network(nodes, [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)])
    assert attentions_of(graph, manifest) == []


def test_what_is_attended_to_is_not_far_wider_than_the_heads() -> None:
    """The product of queries and keys is a square as wide as their input: of a flat weight, that would be no end."""
    nodes = [Node(op="input", name="i", shape=(2, 5))]
    nodes += [Node(op="linear", name=name, slot=name, shape=(4, 10**6)) for name in "qkv"]
    nodes.append(Node(op="attention", name="a", shape=(2, 1, 5, 4)))
    graph, manifest = network(nodes, [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)])
    assert attentions_of(graph, manifest) == []
