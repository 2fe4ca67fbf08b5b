"""Variance kept by rectifiers."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.graphs.analysis.roles import linear_maps_of
from paramgen.prediction import prepare


class Plain(nn.Module):
    """Thirty convolutions and rectifiers, nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(32, 32, 3, padding=1, padding_mode="circular") for _ in range(30))

    def forward(self, images: Tensor) -> Tensor:
        for layer in self.layers:
            images = layer(images).relu()
        return images


def last_over_first(init: str) -> float:
    module = Plain()
    images = torch.randn(4, 32, 8, 8, generator=torch.Generator().manual_seed(0))
    module.load_state_dict(paramgen.predict(module, init=init, example_input=images, seed=1).state_dict())
    with torch.no_grad():
        return float(module(images).square().mean() / images.square().mean())


def test_thirty_rectified_layers_keep_the_scale() -> None:
    assert 0.1 < last_over_first("he") < 10
    assert last_over_first("library") < 0.01  # what the biases bring in again


@pytest.mark.parametrize(("options", "fan"), [("", "fan_in"), ("?mode=fan_out&distribution=uniform", "fan_out")])
def test_every_weight_has_the_variance_of_what_follows(options: str, fan: str) -> None:
    for arch, overrides in (("timm:test_resnet", {}), ("gpt2", {"n_layer": 1, "n_embd": 64, "n_head": 2})):
        prediction = prepare(arch, init=f"he{options}", overrides=overrides)
        state, parts = prediction.state_dict(), linear_maps_of(prediction.graph, prediction.architecture.manifest)
        assert {part.followed_by for part in parts.values()} >= {"", "relu" if arch.startswith("timm") else "gelu"}
        for name, part in parts.items():
            assert prediction.rules[name] == "he"
            wanted = part.gain / getattr(part, fan) ** 0.5
            if state[name].numel() > 2000:
                assert float(state[name].std()) == pytest.approx(wanted, rel=0.1)
                assert (float(state[name].abs().max()) > 2.5 * wanted) == (fan == "fan_in")  # normal, not uniform
            if fan == "fan_out":
                assert float(state[name].abs().max()) <= 3**0.5 * wanted * 1.0001


def test_biases_are_zero_where_the_library_would_draw_them() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 2))
    prediction = paramgen.predict(module, init="he", example_input=torch.zeros(2, 8))
    state = prediction.state_dict()
    named = {"0.weight": "he", "0.bias": "zero", "2.weight": "he", "2.bias": "zero"}
    assert prediction.rules == {**named, "1.weight": "kept", "1.bias": "kept"}
    assert not state["0.bias"].any() and bool((state["1.weight"] == 1).all())


def test_a_bias_that_was_meant_is_kept() -> None:
    module: Any = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3))
    nn.init.constant_(module[1].bias, -4.6)
    rules = paramgen.initialize_(module, init="he")
    assert rules == {"0.weight": "he", "0.bias": "zero", "1.weight": "he", "1.bias": "kept"}
    assert module[1].bias.tolist() == pytest.approx([-4.6] * 3)


def test_weights_whose_default_is_zero_stay_so() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.gate = nn.Linear(4, 4), nn.Linear(4, 4)
            self.reset_parameters()

        def reset_parameters(self) -> None:
            nn.init.zeros_(self.gate.weight)

        def forward(self, states: Tensor) -> Tensor:
            return states + self.gate(self.body(states).relu())

    prediction = paramgen.predict(Gated(), init="he", example_input=torch.zeros(2, 4))
    assert prediction.rules["gate.weight"] == "kept" and prediction.rules["body.weight"] == "he"
    assert not prediction.state_dict()["gate.weight"].any()
