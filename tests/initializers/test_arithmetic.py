"""Arithmetic units begin in the ranges of the paper, told by class or by name."""

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.architectures import Inputs
from paramgen.prediction import prepare


class NAU(nn.Module):
    """A unit of addition."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.zeros(outputs, inputs))

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.linear(inputs, self.W.clamp(-1, 1))


class NMU(nn.Module):
    """A unit of multiplication."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.zeros(outputs, inputs))

    def forward(self, inputs: Tensor) -> Tensor:
        weights = self.W.clamp(0, 1)
        return (weights * inputs.unsqueeze(-2) + 1 - weights).prod(-1)


def test_addition_is_around_zero_and_multiplication_around_a_half() -> None:
    network, inputs = nn.Sequential(NAU(100, 60), NMU(60, 50)), torch.randn(2, 100)
    prediction = prepare(network, init="arithmetic", example_input=((inputs,), {}))
    state, bound = prediction.state_dict(), (6 / 160) ** 0.5
    assert prediction.rules == {"0.W": "arithmetic addition", "1.W": "arithmetic multiplication"}
    assert float(state["0.W"].abs().max()) == pytest.approx(bound, rel=0.01) and abs(float(state["0.W"].mean())) < 0.01
    assert float(state["1.W"].min()) == pytest.approx(0.25, abs=0.01)
    assert float(state["1.W"].max()) == pytest.approx(0.75, abs=0.01)
    small = prepare(NAU(2, 2), init="arithmetic", example_input=((torch.randn(2, 2),), {})).state_dict()["W"]
    assert float(small.abs().max()) <= 0.5


def test_units_of_ones_own_are_told_by_name() -> None:
    network = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
    example: Inputs = ((torch.randn(2, 8),), {})
    with pytest.raises(paramgen.ParamgenError, match="it has no arithmetic unit"):
        prepare(network, init="arithmetic", example_input=example)
    rules = prepare(network, init="arithmetic?add=^0&multiply=^1[.]weight", example_input=example).rules
    assert (rules["0.weight"], rules["1.weight"]) == ("arithmetic addition", "arithmetic multiplication")
