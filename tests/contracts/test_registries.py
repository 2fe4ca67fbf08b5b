"""What holds for every registered name: a new file is tested by being there."""

import dataclasses
import pkgutil
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import paramgen.architectures
import paramgen.initializers
from paramgen.architectures import Architecture, sources
from paramgen.architectures.module import from_module
from paramgen.graphs.schema import Graph
from paramgen.graphs.trace import trace
from paramgen.initializers import initializer_of, initializers


class Tiny(nn.Module):
    """Conv, norm, linear, a bare parameter and a tie."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.mix = nn.Linear(8, 8)
        self.head = nn.Linear(8, 8)
        self.head.weight = self.mix.weight
        self.scale = nn.Parameter(torch.full((8,), 0.5))

    def forward(self, images: Tensor) -> Tensor:
        states = self.norm(self.conv(images)).relu().mean((2, 3))
        return self.head(self.mix(states).relu() * self.scale)


@pytest.fixture(scope="module")
def tiny() -> tuple[Architecture, Graph]:
    architecture = from_module(Tiny())
    assert architecture.module is not None and architecture.example is not None
    return architecture, trace(architecture.module, architecture.manifest, architecture.example)


@pytest.mark.parametrize("name", initializers.names())
def test_every_initializer_fills_every_slot_once_by_a_named_rule(
    name: str, tiny: tuple[Architecture, Graph], hypernet_folder: Path
) -> None:
    (architecture, graph), initializer = (
        tiny,
        initializer_of(f"hypernet:{hypernet_folder}" if name == "hypernet" else name),
    )
    manifest = architecture.manifest
    wanted = {slot.name: (slot.shape, slot.dtype) for slot in manifest.filled}
    rules = initializer.rules(architecture, graph)
    assert rules.keys() == wanted.keys() and all(rules.values())
    before = torch.random.get_rng_state()
    drawn = list(initializer.tensors(architecture, graph, seed=3))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert max(Counter(slot for slot, _ in drawn).values()) == 1
    assert {slot: (tuple(value.shape), value.dtype) for slot, value in drawn} == wanted
    assert all(bool(value.isfinite().all()) for _, value in drawn)
    again, other = (dict(initializer.tensors(architecture, graph, seed=seed)) for seed in (3, 4))
    assert all(torch.equal(value, again[slot]) for slot, value in drawn)
    assert any(not torch.equal(value, other[slot]) for slot, value in drawn)


@pytest.mark.parametrize("name", initializers.names())
def test_every_initializer_is_a_final_frozen_dataclass(name: str) -> None:
    kind = initializers.get(name)
    assert dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen
    assert sys.version_info < (3, 11) or vars(kind).get("__final__")  # older ones leave no mark
    assert kind.__doc__


def test_a_file_is_called_like_what_it_registers() -> None:
    assert initializers.names() == sorted(
        module.name for module in pkgutil.iter_modules(paramgen.initializers.__path__)
    )
    files = {module.name for module in pkgutil.iter_modules(paramgen.architectures.__path__)}
    assert set(sources.names()) <= files
