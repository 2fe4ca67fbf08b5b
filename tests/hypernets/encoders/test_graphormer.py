"""The encoder against its formulas, written out pair by pair and head by head."""

from dataclasses import replace
from math import erf, exp, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor

from paramgen.errors import HypernetError
from paramgen.graphs.views.view import View
from paramgen.hypernets.encoders.graphormer import Graphormer, GraphormerConfig
from paramgen.hypernets.encoders.shape_tables import shape_rows


@pytest.fixture
def module(encoder: GraphormerConfig) -> Graphormer:
    torch.manual_seed(0)
    module = Graphormer(encoder).double()
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return module


def linear(tensors: dict[str, Tensor], name: str, value: Tensor) -> Tensor:
    product = tensors[f"{name}.weight"] @ value
    return product + tensors[f"{name}.bias"] if f"{name}.bias" in tensors else product


def norm(tensors: dict[str, Tensor], name: str, value: Tensor) -> Tensor:
    centred = value - value.mean()
    return centred / sqrt(float((centred**2).mean()) + 1e-5) * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def embedding(tensors: dict[str, Tensor], module: Graphormer, view: View, node: int) -> Tensor:
    rows = shape_rows(view.shapes[node], module._channels, module._spatials)
    shape = [tensors["channel.weight"][row] for row in rows[:2]] + [tensors["spatial.weight"][row] for row in rows[2:]]
    distances = view.distances.long()
    return (
        tensors["primitive.weight"][view.primitives[node]]
        + torch.cat(shape)
        + tensors["incoming.weight"][int((distances[:, node] == 1).sum())]
        + tensors["outgoing.weight"][int((distances[node] == 1).sum())]
        + tensors["depth.weight"][distances[0, node]]
    )


def reference(module: Graphormer, view: View) -> Tensor:
    tensors, config = dict(module.state_dict()), module.config
    nodes, width = len(view.shapes), config.hidden // config.heads
    states = [embedding(tensors, module, view, node) for node in range(nodes)]
    code, distances = tensors["edges.code.weight"], view.distances.long()
    bias = {}
    for a in range(nodes):
        for b in range(nodes):
            pair = torch.cat((code[distances[a, b] + 2], code[distances[b, a] + 2]))
            bias[a, b] = linear(tensors, "edges.mlp.2", linear(tensors, "edges.mlp.0", pair).clamp(min=0))
    for layer in (f"layers.{index}" for index in range(config.layers)):
        qkv = [
            linear(tensors, f"{layer}.attention.qkv", norm(tensors, f"{layer}.attention_norm", x)).view(
                3, config.heads, width
            )
            for x in states
        ]
        after = []
        for a in range(nodes):
            heads: list[Tensor] = []
            for head in range(config.heads):
                logits = [
                    float(qkv[a][0, head] @ qkv[b][1, head]) * width**-0.5 + float(bias[a, b][head])
                    for b in range(nodes)
                ]
                shares = [exp(logit) for logit in logits]
                mixed = sum((share * qkv[b][2, head] for b, share in enumerate(shares)), torch.zeros(width))
                heads.append(mixed / sum(shares))
            after.append(states[a] + linear(tensors, f"{layer}.attention.out", torch.cat(heads)))
        states = []
        for x in after:
            inner = linear(tensors, f"{layer}.feed_forward.0", norm(tensors, f"{layer}.feed_forward_norm", x))
            inner = torch.stack([v * (1 + erf(float(v) / sqrt(2))) / 2 for v in inner])
            states.append(x + linear(tensors, f"{layer}.feed_forward.2", inner))
    return torch.stack([norm(tensors, "norm", x) for x in states])


def test_equals_the_formulas(module: Graphormer, view: View) -> None:
    torch.testing.assert_close(module(view), reference(module, view), rtol=1e-9, atol=1e-9)


def test_with_and_without_gradients_the_states_are_the_same(module: Graphormer, view: View) -> None:
    with torch.no_grad():
        fused = module(view)
    torch.testing.assert_close(module(view), fused)


def test_knows_forward_from_backward(module: Graphormer, view: View) -> None:
    turned = replace(view, distances=view.distances.T.contiguous())
    assert not torch.allclose(module(view), module(turned))


def test_works_without_a_final_norm(encoder: GraphormerConfig, view: View) -> None:
    module = Graphormer(replace(encoder, final_norm=False))
    assert module(view).shape == (6, 16)
    assert "norm.weight" not in module.state_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"primitives": torch.tensor([0, 1, 2, 3, 4, 20])}, "index 20; this hypernet knows 20"),
        ({"shapes": (None,)}, "one shape, one row and one column per node"),
        ({"distances": torch.full((6, 6), 255)}, "A distance of 255; allowed are 0 to 254"),
    ],
)
def test_refuses_views_it_cannot_read(module: Graphormer, view: View, change: dict[str, Any], message: str) -> None:
    with pytest.raises(HypernetError, match=message):
        module(replace(view, **change))


@pytest.mark.parametrize(
    "change", [{"hidden": 8192}, {"layers": 129}, {"heads": 3}, {"hidden": 18}, {"cutoff": 255}, {"channels": (0,)}]
)
def test_refuses_sizes_outside_the_limits(encoder: GraphormerConfig, change: dict[str, Any]) -> None:
    with pytest.raises(HypernetError):
        replace(encoder, **change)
