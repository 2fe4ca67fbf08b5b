"""Layers of the Poincare ball keep the norm of what passes."""

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.prediction import prepare

WIDTH = 32


class HLinear(nn.Module):
    """A fully connected layer of the Poincare ball of curvature -1 (Shimizu et al., 2021, section 3.2), as hypll's."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.z = nn.Parameter(torch.empty(inputs, outputs).normal_(0, (2 * inputs * outputs) ** -0.5))
        self.bias = nn.Parameter(torch.randn(outputs))

    def forward(self, points: Tensor) -> Tensor:
        norms = self.z.norm(dim=0).clamp_min(1e-12)
        scale = 2 / (1 - points.square().sum(-1, keepdim=True))
        inner = points @ (self.z / norms)
        values = (
            2 * norms * torch.asinh(scale * inner * torch.cosh(2 * self.bias) - (scale - 1) * torch.sinh(2 * self.bias))
        )
        wide = torch.sinh(values)
        return wide / (1 + (1 + wide.square().sum(-1, keepdim=True)).sqrt())


def ratio(init: str) -> float:
    network = nn.Sequential(*(HLinear(WIDTH, WIDTH) for _ in range(20)))
    points = 0.1 * torch.randn(16, WIDTH, generator=torch.Generator().manual_seed(0))
    network.load_state_dict(prepare(network, init=init, example_input=((points,), {})).state_dict())
    with torch.no_grad():
        return float(network(points).norm() / points.norm())


def test_twenty_layers_keep_the_norm() -> None:
    assert 0.5 < ratio("poincare") < 2


def test_rules_name_weights_and_biases() -> None:
    prediction = prepare(HLinear(4, 6), init="poincare", example_input=((torch.zeros(2, 4),), {}))
    assert prediction.rules == {"z": "poincare", "bias": "zero"}
    assert torch.equal(prediction.state_dict()["z"], 0.5 * torch.eye(4, 6))


def test_other_networks_are_told_what_to_type() -> None:
    with pytest.raises(paramgen.ParamgenError, match="it has no layer of the Poincare ball"):
        paramgen.predict(nn.Linear(4, 4), init="poincare")
