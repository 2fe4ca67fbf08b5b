"""Variance halfway between forward and backward."""

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.graphs.analysis.roles import linear_maps_of
from paramgen.prediction import prepare


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_every_weight_has_the_variance_of_both_fans(distribution: str) -> None:
    prediction = prepare("timm:test_convnext", init=f"xavier:{distribution}")
    state, parts = prediction.state_dict(), linear_maps_of(prediction.graph, prediction.architecture.manifest)
    assert {part.kind for part in parts.values()} == {"conv", "depthwise", "linear"}
    for name, part in parts.items():
        wanted = (2 / (part.fan_in + part.fan_out)) ** 0.5
        if state[name].numel() > 2000:
            assert float(state[name].std()) == pytest.approx(wanted, rel=0.1)
        if distribution == "uniform":
            assert float(state[name].abs().max()) <= 3**0.5 * wanted * 1.0001


def test_a_deep_tanh_network_keeps_its_scale() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(128, 128) for _ in range(5))

        def forward(self, states: Tensor) -> Tensor:
            for layer in self.layers:
                states = layer(states).tanh()
            return states

    module, states = Deep(), torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    reached = {}
    for init in ("library", "xavier"):  # library is what the module holds
        module.load_state_dict(paramgen.predict(module, init=init, example_input=states, seed=2).state_dict())
        reached[init] = float(module(states).detach().std())
    assert reached["xavier"] > 0.25 > 2 * reached["library"]


def test_transposed_and_grouped_convolutions_count_what_meets() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Conv2d(32, 64, 3, groups=4)
            self.up = nn.ConvTranspose2d(64, 32, 4, stride=2, groups=2)

        def forward(self, images: Tensor) -> Tensor:
            return self.up(self.down(images))

    prediction = paramgen.predict(Both(), init="xavier", example_input=torch.zeros(2, 32, 8, 8))
    state = prediction.state_dict()
    assert float(state["down.weight"].std()) == pytest.approx((2 / (8 * 9 + 16 * 9)) ** 0.5, rel=0.05)
    assert float(state["up.weight"].std()) == pytest.approx((2 / (32 * 16 / 4 + 16 * 16)) ** 0.5, rel=0.05)
