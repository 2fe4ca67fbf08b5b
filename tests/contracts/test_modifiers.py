"""What holds for every modifier behind any initializer: a new file is tested by being there."""

import dataclasses
import pkgutil
from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import paramgen.modifiers
from paramgen.architectures import Architecture
from paramgen.architectures.module import from_module
from paramgen.errors import OptionError
from paramgen.graphs.analysis.roles import linear_maps_of
from paramgen.graphs.schema import Graph
from paramgen.graphs.tracing.trace import trace
from paramgen.initializers import initializer_of
from paramgen.initializers.library import default_weights
from paramgen.modifiers import modifiers
from paramgen.prediction import describe, prediction_of

BEFORE = ("library", "he", "rezero", "idinit", "matched:he")
TYPED = {"freeze": "freeze?by=random", "prune": "prune?keep=0.05&scope=layer", "share": "share?keep=0.05"}
"""What is typed where the defaults need data, or would leave nothing of a layer as small as these."""


class Odd(nn.Module):
    """Groups, a transposed and a depthwise convolution, a zero convolution, a tie, norms, a table, a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.grouped = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1, groups=2)
        self.depthwise, self.up = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ConvTranspose2d(16, 12, 2)
        self.norm, self.closed = nn.BatchNorm2d(12), nn.Conv2d(12, 12, 1)
        nn.init.zeros_(self.closed.weight)
        self.mix, self.again = nn.Linear(12, 12, bias=False), nn.Linear(12, 12, bias=False)
        self.again.weight = self.mix.weight
        self.table, self.head = nn.Parameter(torch.randn(5, 12)), nn.Linear(12, 9)

    def forward(self, images: Tensor) -> Tensor:
        images = self.stem(images).relu()
        images = self.norm(self.up(images + self.depthwise(self.grouped(images))))
        states = (images + self.closed(images)).mean((2, 3))
        return self.head(self.again(self.mix(states).relu()) + self.table.mean(0))


@pytest.fixture(scope="module")
def odd() -> tuple[Architecture, Graph]:
    return describe(f"{__file__}:Odd", example_input=((torch.randn(2, 3, 8, 8),), {}))


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("name", modifiers.names())
def test_a_modifier_changes_weights_of_linear_maps_and_nothing_else(
    name: str, before: str, odd: tuple[Architecture, Graph]
) -> None:
    architecture, graph = odd
    typed = TYPED.get(name, name)
    changed, plain = initializer_of(f"{before}|{typed}"), initializer_of(before)
    rules, inner = changed.rules(*odd), plain.rules(*odd)
    made = list(changed.tensors(*odd, seed=3))
    wanted = {slot.name: (slot.shape, slot.dtype) for slot in architecture.manifest.filled}
    assert {slot: (tuple(value.shape), value.dtype) for slot, value in made} == wanted
    assert max(Counter(slot for slot, _ in made).values()) == 1
    assert all(bool(value.isfinite().all()) for _, value in made)
    values = dict(plain.tensors(*odd, seed=3))
    maps = linear_maps_of(graph, architecture.manifest)
    assert "closed.weight" not in maps and not dict(made)["closed.weight"].any()
    for slot, value in made:
        if slot in maps and rules[slot] == f"{inner[slot]}|{name}":
            assert bool(value.any()) == bool(values[slot].any())
            assert not value.any() or value.equal(values[slot]) == (name == "freeze")
        else:
            assert rules[slot] == inner[slot] and torch.equal(value, values[slot])
    assert any(rule.endswith(f"|{name}") for rule in rules.values())


@pytest.mark.parametrize("name", modifiers.names())
def test_the_same_chain_gives_the_same_bytes_on_any_number_of_threads(
    name: str, odd: tuple[Architecture, Graph], threads: None
) -> None:
    initializer = initializer_of(f"he|scale:0.5|{TYPED.get(name, name)}")
    made = []
    for count in (1, 4):
        torch.set_num_threads(count)
        made.append(dict(initializer.tensors(*odd, seed=3)))
    assert all(torch.equal(value, made[1][slot]) for slot, value in made[0].items())
    other = dict(initializer.tensors(*odd, seed=4))
    assert any(not torch.equal(value, other[slot]) for slot, value in made[0].items())


@pytest.mark.parametrize("name", modifiers.names())
def test_a_part_of_a_prediction_is_what_the_whole_has_there(name: str, odd: tuple[Architecture, Graph]) -> None:
    init = f"he|{TYPED.get(name, name)}"
    whole = prediction_of(*odd, initializer_of(init), init=init, seed=3, dtype=None)
    every = dict(whole)
    names = list(reversed(every))[:3]
    part = dict(whole.only(names))
    assert set(part) == set(names) and all(torch.equal(value, every[slot]) for slot, value in part.items())
    if whole.resolved.slot_by_slot:
        assert list(part) == names


@pytest.mark.parametrize("name", modifiers.names())
def test_what_a_live_module_keeps_stays(name: str) -> None:
    module = Odd()
    architecture = from_module(module, ((torch.randn(2, 3, 8, 8),), {}))
    assert architecture.module is not None and architecture.example is not None
    graph = trace(architecture.module, architecture.manifest, architecture.example)
    initializer = initializer_of(f"natural|{TYPED.get(name, name)}")  # which fills the depthwise filter alone
    made = dict(initializer.tensors(architecture, graph, seed=3))
    rules = initializer.rules(architecture, graph)
    assert rules["stem.weight"] == "kept" and torch.equal(made["stem.weight"], module.stem.weight)
    with pytest.raises(OptionError, match=f"{name!r} changes nothing .* what the module holds is kept"):
        initializer_of(f"library|{TYPED.get(name, name)}").resolve(architecture, graph)


@pytest.mark.parametrize("name", modifiers.names())
def test_every_modifier_is_a_final_frozen_dataclass_whose_module_names_its_paper(name: str) -> None:
    kind = modifiers.get(name)
    assert dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen
    assert vars(kind).get("__final__") and kind.__doc__


def test_a_file_is_called_like_what_it_registers() -> None:
    assert modifiers.names() == sorted(
        module.name for module in pkgutil.iter_modules(paramgen.modifiers.__path__) if not module.ispkg
    )


def test_what_is_not_changed_is_the_librarys(odd: tuple[Architecture, Graph]) -> None:
    initializer = initializer_of("he|scale:2")
    rules, made = initializer.rules(*odd), dict(initializer.tensors(*odd, seed=3))
    own = [slot for slot in odd[0].manifest.filled if rules[slot.name] == "library"]
    assert own and all(torch.equal(made[slot.name], default_weights(slot, 3)) for slot in own)
