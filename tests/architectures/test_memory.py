"""Modules on the meta device get memory and their first values in one step; ties and devices stay."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.architectures.memory import give_memory


class Tied(nn.Module):
    """A tie, a frozen parameter, and a buffer that no state dict has."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7)
        self.head.weight = self.table.weight
        self.head.bias.requires_grad_(False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.table(ids))


def test_a_module_on_meta_is_given_memory_and_values() -> None:
    with torch.device("meta"):
        module = Tied()
    ids = torch.zeros(2, 3, dtype=torch.long)
    rules = paramgen.initialize_(module, init="library", seed=1, example_input=ids)
    assert rules == {"table.weight": "library", "head.bias": "library"}
    assert module.head.weight is module.table.weight and not module.head.bias.requires_grad
    assert module(ids).isfinite().all() and float(module.table.weight.detach().std()) > 0.1
    again = Tied()
    with torch.device("meta"):
        state = paramgen.predict(Tied(), init="library", seed=1, example_input=ids).state_dict()
    again.load_state_dict(state)
    assert all(again.state_dict()[name].equal(tensor) for name, tensor in module.state_dict().items())


def test_only_what_has_no_memory_is_given_some() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, device="meta"))
    first: Any = module[0]
    held, before = first.weight, first.weight.detach().clone()
    rules = paramgen.initialize_(module, init="library")
    assert rules["0.weight"] == "kept" and rules["1.weight"] == "library"
    assert first.weight is held and torch.equal(held, before)
    assert not any(tensor.is_meta for tensor in module.state_dict().values())


def test_a_buffer_that_nobody_can_make_is_one_line() -> None:
    module = nn.Linear(4, 4)
    module.register_buffer("table", torch.empty(3, device="meta"), persistent=False)
    with pytest.raises(
        paramgen.ParamgenError,
        match="'table', which is on the meta device .* only its constructor knows",
    ):
        paramgen.initialize_(module, init="library")
    assert not module.weight.is_meta and module.table.is_meta


def test_memory_is_where_the_other_tensors_are() -> None:
    module = nn.Sequential(nn.BatchNorm1d(3, device="meta"), nn.Linear(3, 3))
    give_memory(module)
    assert {tensor.device.type for tensor in module.state_dict().values()} == {"cpu"}
