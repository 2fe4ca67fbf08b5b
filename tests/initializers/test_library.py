"""The library's own draws, slot by slot."""

import pytest
import torch
from torch import nn

import paramgen
from paramgen.initializers import initializer_of


def test_distributions_are_the_modules_own() -> None:
    module = nn.Sequential(nn.Conv2d(16, 64, 3), nn.BatchNorm2d(64), nn.Flatten(), nn.Linear(64 * 62 * 62, 4))
    state = paramgen.predict(module, init="library", seed=1).state_dict()
    reference = module.state_dict()
    for name, tensor in state.items():
        assert tensor.dtype == reference[name].dtype and tensor.shape == reference[name].shape
        if tensor.numel() > 1000:
            assert float(tensor.std()) == pytest.approx(float(reference[name].std()), rel=0.05)
    bound = (16 * 9) ** -0.5
    assert bound * 0.99 < float(state["0.weight"].abs().max()) <= bound
    assert bool((state["1.weight"] == 1).all()) and bool((state["1.bias"] == 0).all())


def test_slots_without_a_draw_have_rules_of_their_own() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.arange(6.0).view(2, 3))
            self.linear = nn.Linear(3, 2)

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return self.linear(states) + states @ self.table.t()

    module = Bare()
    prediction = paramgen.predict(module, init="library", example_input=torch.zeros(2, 3))
    assert prediction.rules == {"table": "kept", "linear.weight": "kept", "linear.bias": "kept"}
    assert prediction.state_dict()["table"].equal(module.table)
    module.to("meta")
    assert paramgen.predict(module, init="library", example_input=torch.zeros(2, 3)).rules == {
        "table": "plain", "linear.weight": "library", "linear.bias": "library"
    }  # fmt: skip


def test_specs() -> None:
    assert initializer_of("library").describe() == {}
    with pytest.raises(paramgen.ParamgenError, match="takes no argument"):
        initializer_of("library:x")
    with pytest.raises(paramgen.ParamgenError, match="Did you mean 'library'"):
        initializer_of("libary")
