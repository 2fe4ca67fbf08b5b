"""Interval bounds keep their width through the layers, and networks that are not of that kind are refused."""

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.prediction import prepare

DEPTH, WIDTH, EPSILON = 7, 512, 8 / 255


def growth(init: str) -> float:
    """Return by how much the mean radius of bounds grows over all layers but the last, by interval arithmetic."""
    layers = [layer for _ in range(DEPTH) for layer in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
    network = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    network.load_state_dict(prepare(network, init=init, example_input=((torch.randn(2, WIDTH),), {})).state_dict())
    centre = torch.rand(4, WIDTH, generator=torch.Generator().manual_seed(0))
    low, high = centre - EPSILON, centre + EPSILON
    with torch.no_grad():
        for layer in list(network)[:-1]:
            if isinstance(layer, nn.Linear):
                middle, radius = (low + high) / 2, (high - low) / 2
                middle, radius = layer(middle), radius @ layer.weight.abs().T
                low, high = middle - radius, middle + radius
            else:
                low, high = low.relu(), high.relu()
    return float((high - low).mean() / (2 * EPSILON))


def test_the_radius_is_kept_where_hes_grows_more_than_tenfold_a_layer() -> None:
    assert 0.5 < growth("ibp") < 2
    assert growth("he") > 10**DEPTH


class Residual(nn.Module):
    """Two layers around a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch, self.behind = (nn.Linear(64, 64) for _ in range(3))
        self.head = nn.Linear(64, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        states = self.stem(inputs).relu()
        states = states + self.branch(states)
        return self.head(self.behind(states.relu()).relu())


def test_the_first_weight_behind_a_sum_is_halved() -> None:
    prediction = prepare(Residual(), init="ibp", example_input=((torch.randn(2, 64),), {}))
    state = prediction.state_dict()
    std = (2 * torch.pi) ** 0.5 / 64
    assert float(state["branch.weight"].std()) == pytest.approx(std, rel=0.05)
    assert float(state["behind.weight"].std()) == pytest.approx(std / 2, rel=0.05)
    assert prediction.rules["head.weight"] == "he"
    # 256 normal values whose deviation is 1 / sqrt(64): nothing follows the output, so the gain is 1.
    assert float(state["head.weight"].std()) == pytest.approx(1 / 8, rel=0.15)


def test_other_networks_are_told_what_to_type() -> None:
    with pytest.raises(paramgen.ParamgenError, match="it has 'gelu', and the formula is about convolutions"):
        network = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 4))
        paramgen.predict(network, init="ibp", example_input=torch.randn(2, 4))
