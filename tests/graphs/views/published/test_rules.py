"""The published rules on networks small enough to see through."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from paramgen.architectures import resolve
from paramgen.architectures.recorder import record
from paramgen.errors import GraphError, TraceError
from paramgen.graphs.views.published.distances import distances
from paramgen.graphs.views.published.rewiring import _paths
from paramgen.graphs.views.published.view import PublishedGraph, published_graph, published_view
from paramgen.graphs.views.published.vocabulary import PRIMITIVES
from paramgen.graphs.views.view import View
from paramgen.slots.manifest import read_manifest

IMAGE: tuple[tuple[Any, ...], dict[str, Any]] = ((torch.zeros(2, 3, 8, 8, device="meta"),), {})


class Small(nn.Module):
    """A gate of two products, a stem, and a classifier without a bias."""

    def __init__(self, *, bias: bool = True) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.squeeze = nn.Conv2d(6, 2, 1)
        self.excite = nn.Conv2d(2, 6, 1)
        self.project = nn.Conv2d(6, 6, 1)  # without it, the product would count as the classifier's
        self.classifier = nn.Linear(6, 4, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        features = functional.max_pool2d(self.norm(self.conv_stem(images)), (2, 1))
        scale = self.excite(functional.relu(self.squeeze(features.mean((2, 3), keepdim=True)))).sigmoid()
        return self.classifier(self.project(features * scale).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.proj = nn.Linear(8, 8)
        self.gain = nn.Parameter(torch.ones(8))

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.qkv(tokens).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2)) * self.gain


def graph_of(module: nn.Module, inputs: Any = IMAGE, **given: Any) -> PublishedGraph:
    return published_graph(module, read_manifest(module, {}), inputs, **{"family": "ghn3", **given})


def view_of(module: nn.Module, inputs: Any = IMAGE, **given: Any) -> View:
    return published_view(module, read_manifest(module, {}), inputs, **{"family": "ghn3", **given})


def small(**given: Any) -> nn.Module:
    with torch.device("meta"):
        return Small(**given)


def attention() -> nn.Module:
    with torch.device("meta"):
        return Attention()


TOKENS: tuple[tuple[Any, ...], dict[str, Any]] = ((torch.zeros(2, 5, 8, device="meta"),), {})


def test_gates_are_found_and_only_the_last_mean_stays() -> None:
    graph = graph_of(small())
    assert graph.primitives == tuple(
        "input conv bn max_pool conv bias conv bias cse conv bias glob_avg conv bias".split()
    )
    assert graph.shapes[3] == (1, 1, 2, 1)
    gate = graph.primitives.index("cse")
    assert {source for source, end in graph.edges.tolist() if end == gate} == {3, 7}


def test_logah_calls_a_gate_a_gate() -> None:
    view = view_of(small(), family="logah_vit")
    assert PRIMITIVES[view.primitives[8]] == "gate"


def test_the_class_layer_is_found_by_its_place() -> None:
    roles = {request.slot: request.role for request in view_of(small()).requests}
    assert (roles["classifier.weight"], roles["classifier.bias"]) == ("class_weight", "class_bias")
    without = {request.slot: request.role for request in view_of(small(bias=False)).requests}
    assert without["classifier.weight"] == "weight"
    assert set(without.values()) == {"weight", "bias", "scale"}


def test_a_norm_is_one_node_for_its_scale_and_its_bias() -> None:
    requests = [request for request in view_of(small()).requests if request.slot.startswith("norm")]
    assert [(request.slot, request.role, request.node) for request in requests] == [
        ("norm.weight", "scale", 2),
        ("norm.bias", "bias", 2),
    ]


def test_what_stands_before_stem_in_a_name_hides_its_parameter() -> None:
    view = view_of(small())
    assert "conv_stem.weight" not in {request.slot for request in view.requests}
    assert view.shapes[1] == (6, 3, 3, 3)


def test_softmax_is_a_node_only_where_it_is_explicit() -> None:
    explicit, fused = graph_of(attention(), TOKENS), graph_of(attention(), TOKENS, softmax="fused")
    assert explicit.primitives == ("input", "conv", "bias", "msa", "conv", "bias")
    assert fused.primitives == ("input", "conv", "bias", "conv", "bias")
    assert explicit.edges.tolist() == [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]


def test_fused_attention_is_left_as_it_was() -> None:
    before = functional.scaled_dot_product_attention
    graph_of(attention(), TOKENS)
    assert functional.scaled_dot_product_attention is before


def test_unknown_parameters_have_no_node() -> None:
    assert "gain" not in {request.slot for request in view_of(attention(), TOKENS).requests}
    assert ".gain" not in graph_of(attention(), TOKENS).names


def test_the_module_comes_back_as_it_was_given() -> None:
    module: Any = small().eval()
    module.norm.train()
    state = {name: id(tensor) for name, tensor in module.state_dict(keep_vars=True).items()}
    graph_of(module)
    assert [child.training for child in module.children()] == [False, True, False, False, False, False]
    assert {name: id(tensor) for name, tensor in module.state_dict(keep_vars=True).items()} == state
    assert all(parameter.grad is None and parameter.grad_fn is None for parameter in module.parameters())


def test_a_failing_forward_pass_is_one_line() -> None:
    with pytest.raises(TraceError, match="The forward pass of Small fails") as caught:
        graph_of(small(), TOKENS)
    assert "\n" not in str(caught.value)


def test_a_network_without_gradients_has_no_graph() -> None:
    with pytest.raises(GraphError, match="requires a gradient"):
        graph_of(small().requires_grad_(False))


class Crossed(nn.Module):
    """Two keys of one softmax: after the repairs of weights there are cycles between attentions."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 24) for _ in range(12))

    def forward(self, tokens: Tensor) -> Tensor:
        for layer in self.layers:
            query, key, value = layer(tokens).chunk(3, -1)
            tokens = tokens + query @ (key.softmax(1).transpose(1, 2) @ value)
        return tokens


def test_paths_are_counted_in_linear_time() -> None:
    ladder = [frozenset((node + 1, node + 2)) for node in range(60)] + [frozenset((61,)), frozenset()]
    assert _paths(ladder, 0, 61) == 2
    loops = [frozenset((node ^ 1, min(node + 2, 121), (node + 2) ^ 1)) for node in range(120)]
    assert _paths([*loops, frozenset((121,)), frozenset((120,)), frozenset()], 0, 122) == 0
    assert _paths([frozenset((1,)), frozenset((2, 0)), frozenset((1,))], 0, 2) == 1


def test_softmax_over_keys_has_a_graph() -> None:
    with torch.device("meta"):
        module = Crossed()
    graph = graph_of(module, TOKENS)
    assert [graph.primitives.count(word) for word in ("msa", "conv", "bias", "input")] == [12, 12, 12, 1]
    assert bool((graph.edges[:, 0] > graph.edges[:, 1]).any())  # the published repairs make cycles here


class Dropped(nn.Module):
    """Reads a random number back when it trains, which the meta device cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens if self.training and torch.rand(()).item() < 0.5 else self.layer(tokens)


def test_what_cannot_train_without_data_is_followed_as_it_evaluates() -> None:
    with torch.device("meta"):
        module = Dropped()
    assert graph_of(module, TOKENS).primitives == ("input", "conv", "bias")


def test_distances_in_a_cycle() -> None:
    edges = np.array([[0, 1], [1, 2], [2, 0], [2, 3]], dtype=np.int64)
    assert distances(edges, 4, 50).tolist() == [[0, 1, 2, 3], [2, 0, 1, 2], [1, 2, 0, 1], [0, 0, 0, 0]]
    assert distances(edges, 4, 2)[0].tolist() == [0, 1, 2, 0]
    with pytest.raises(GraphError, match="cutoff"):
        distances(edges, 4, 255)


@pytest.mark.slow
def test_swin_v2_keeps_the_order_of_discovery() -> None:
    made = resolve("torchvision:swin_v2_t")
    assert made.module is not None and made.example is not None
    graph = published_graph(made.module, made.manifest, made.example, family="ghn3")
    view = published_view(made.module, made.manifest, made.example, family="ghn3")
    assert graph.names[-1] == "input"
    assert bool((graph.edges[:, 0] > graph.edges[:, 1]).any())
    assert not {request.role for request in view.requests} & {"class_weight", "class_bias"}
    assert len(view.distances) == 239


def test_parameters_recorded_under_no_grad_still_have_a_graph() -> None:
    module, programs = record(lambda: Small())
    graph = published_graph(module, read_manifest(module, programs), IMAGE, family="ghn3")
    assert len(graph) == 14
