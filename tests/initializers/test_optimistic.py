"""Every output begins at the value that was requested, and nothing else is changed."""

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.prediction import prepare


class Tables(nn.Module):
    """The value of a state is the sum of three tables'."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(6, 2) for _ in range(3))

    def forward(self, states: Tensor) -> Tensor:
        return self.tables[0](states) + self.tables[1](states) + self.tables[2](states)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))


def test_the_outputs_bias_is_the_value_and_the_rest_is_the_librarys() -> None:
    module, inputs = network(), torch.randn(2, 4)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = prepare(module, init="optimistic?value=10.0", example_input=((inputs,), {})).state_dict()
    assert torch.equal(state["2.bias"], torch.full((3,), 10.0))
    assert all(torch.equal(state[name], value) for name, value in before.items() if name != "2.bias")
    module.load_state_dict(
        prepare(module, init="optimistic?value=10.0&weights=zero", example_input=((inputs,), {})).state_dict()
    )
    assert torch.equal(module(inputs), torch.full((2, 3), 10.0))


def test_tables_that_are_summed_have_a_part_each() -> None:
    module, states = Tables(), torch.arange(6)
    module.load_state_dict(prepare(module, init="optimistic?value=7.5", example_input=((states,), {})).state_dict())
    assert torch.allclose(module(states), torch.full((6, 2), 7.5), rtol=1e-6)


def test_an_output_without_either_is_told_what_to_type() -> None:
    with pytest.raises(paramgen.ParamgenError, match="its output is neither a layer with a bias nor a sum of lookup"):
        paramgen.predict(
            nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4, bias=False)),
            init="optimistic",
            example_input=torch.randn(2, 4),
        )
