"""The library's own draws, slot by slot."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import paramgen
from paramgen.errors import IncompleteStateError
from paramgen.initializers import initializer_of
from paramgen.initializers.library import Library, default_weights
from paramgen.prediction import prepare
from paramgen.slots.manifest import Slot


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


def test_one_slot_alone_is_what_it_is_among_all() -> None:
    prediction = prepare("timm:test_vit", init="library", seed=3)
    alone = Library().values(prediction.architecture, prediction.graph, seed=3)
    for name, tensor in list(prediction.state_dict().items())[-3:]:
        assert alone(prediction.architecture.manifest[name]).equal(tensor)


def test_a_slot_without_an_init_program_is_normal_if_it_is_a_matrix_and_else_zero() -> None:
    matrix = Slot(name="table", shape=(400, 50), dtype=torch.bfloat16, kind="parameter", owner="", owner_type="Table")
    values = default_weights(matrix, 1)
    assert (values.dtype, values.shape) == (torch.bfloat16, (400, 50))
    assert float(values.float().std()) == pytest.approx(0.02, rel=0.02)
    assert not values.equal(default_weights(matrix, 2))
    assert not default_weights(replace(matrix, shape=(50,)), 1).any()
    counts = default_weights(replace(matrix, dtype=torch.int64), 1)
    assert counts.dtype == torch.int64 and not counts.any()
    waves = default_weights(replace(matrix, dtype=torch.complex64), 1)
    assert waves.dtype == torch.complex64 and bool(waves.any())


def test_zeros_have_the_slots_own_dtype() -> None:
    module = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)).to(torch.bfloat16)
    state = paramgen.predict(module, init="he", example_input=torch.zeros(2, 8, dtype=torch.bfloat16)).state_dict()
    assert not state["0.bias"].any() and state["0.bias"].dtype == torch.bfloat16


def test_an_init_program_that_makes_another_dtype_is_refused_by_name() -> None:
    prediction = prepare("timm:test_vit", init="library")
    slot = replace(prediction.architecture.manifest["head.weight"], dtype=torch.float64)
    with pytest.raises(IncompleteStateError, match=r"'head.weight' makes shape .* and torch.float32; the slot has"):
        default_weights(slot, 1)
