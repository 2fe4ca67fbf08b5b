"""What holds for every registered name: a new file is tested by being there."""

import dataclasses
import json
import pkgutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor, nn

import paramgen.architectures
import paramgen.initializers
from paramgen.architectures import Architecture, sources
from paramgen.architectures.module import from_module
from paramgen.errors import OptionError
from paramgen.graphs.schema import Graph
from paramgen.graphs.tracing.trace import trace
from paramgen.initializers import initializer_of, initializers
from paramgen.initializers.library import default_weights
from paramgen.prediction import describe, prediction_of


class Tiny(nn.Module):
    """Conv, norm, linear, a bare parameter and a tie."""

    def __init__(self, filters: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, filters, 3, bias=False)
        self.norm = nn.BatchNorm2d(filters)
        self.mix = nn.Linear(filters, 8)
        self.head = nn.Linear(8, 8)
        self.head.weight = self.mix.weight
        self.scale = nn.Parameter(torch.full((8,), 0.5))

    def forward(self, images: Tensor) -> Tensor:
        states = self.norm(self.conv(images)).relu().mean((2, 3))
        return self.head(self.mix(states).relu() * self.scale)


@pytest.fixture(scope="module")
def tiny() -> tuple[Architecture, Graph]:
    with torch.device("meta"):  # a module that holds values keeps them
        architecture = from_module(Tiny())
    assert architecture.module is not None and architecture.example is not None
    return architecture, trace(architecture.module, architecture.manifest, architecture.example)


LANGUAGE = ("grow", "transplant", "mimetic", "unigram")
"""What fills language models only, or of these here."""


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> tuple[Architecture, Graph, Path]:
    """A small GPT-2, and a folder with a smaller one and its tokenizer; they differ in layers."""
    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_inner": 20, "n_positions": 8, "vocab_size": 258}
    folder = tmp_path_factory.mktemp("smaller")
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(["a text of a few words"], vocab_size=258, show_progress=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    smaller, graph = describe("gpt2", overrides=sizes)
    save_file(dict(initializer_of("library").tensors(smaller, graph, seed=0)), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(dict(smaller.layout.config)))
    return *describe("gpt2", overrides=sizes | {"n_layer": 2}), folder


@pytest.fixture(scope="module")
def transplanted(language: tuple[Architecture, Graph, Path]) -> tuple[Architecture, Graph, Path]:
    """The smaller one with rows for more tokens."""
    return *describe(str(language[2]), overrides={"vocab_size": 300}), language[2]


@pytest.fixture(scope="module")
def denoised(pipeline_folder: Path) -> tuple[Architecture, Graph]:
    """The one architecture that a pipeline makes weights for."""
    return describe(str(pipeline_folder / "base"))


class Special(nn.Module):
    """What single initializers are for: a residual branch, a depthwise filter, a state space, a unit of arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.units, self.free = nn.Linear(8, 24), nn.Linear(8, 8)
        self.log_A_real, self.A_imag = (nn.Parameter(torch.rand(4, 2)) for _ in range(2))
        self.C = nn.Parameter(torch.randn(4, 2, dtype=torch.cfloat))
        self.hyperbolic, self.unit, self.head = HLinear(8), NAU(8), nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        images = self.stem(images)
        states = (images + self.depthwise(images).relu()).mean((2, 3))
        states = self.free(self.units(states).unflatten(1, (8, 3)).amax(-1)).tanh()
        states = states * (self.log_A_real * self.A_imag * self.C.real).sum()
        return self.head(self.unit(self.hyperbolic(states)))


class HLinear(nn.Module):
    """A hyperbolic layer by its name."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.z = nn.Parameter(torch.randn(width, width))

    def forward(self, states: Tensor) -> Tensor:
        return states @ self.z


class NAU(nn.Module):
    """A unit of addition by its name."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(width, width))

    def forward(self, states: Tensor) -> Tensor:
        return nn.functional.linear(states, self.W)


@pytest.fixture(scope="module")
def special() -> tuple[Architecture, Graph]:
    with torch.device("meta"):
        architecture = from_module(Special(), ((torch.randn(2, 3, 8, 8),), {}))
    assert architecture.module is not None and architecture.example is not None
    return architecture, trace(architecture.module, architecture.manifest, architecture.example)


@pytest.fixture(scope="module")
def plain() -> tuple[Architecture, Graph]:
    """Nothing but what interval bounds are about."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 4))
    architecture = from_module(network.to("meta"), ((torch.randn(2, 3, 4, 4),), {}))
    assert architecture.module is not None and architecture.example is not None
    return architecture, trace(architecture.module, architecture.manifest, architecture.example)


@pytest.fixture(scope="module")
def neighbours() -> tuple[Architecture, Graph]:
    """A graph network, with a graph."""
    geometric = pytest.importorskip("torch_geometric.nn")
    network = geometric.Sequential("x, edges", [(geometric.GCNConv(4, 4), "x, edges -> x"), nn.Linear(4, 2)])
    edges = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    return describe(network, example_input=((torch.randn(4, 4), edges), {}))


@pytest.fixture(scope="module")
def patches() -> tuple[Architecture, Graph]:
    """A vision transformer."""
    return describe("timm:test_vit")


OWN = {"impulse": "patches", "inherit": "patches", "ibp": "plain", "virgo": "neighbours"}
SPECIAL = ("rezero", "eoc", "natural", "maxout", "s4d", "poincare", "arithmetic")


@pytest.fixture
def subject(name: str, request: pytest.FixtureRequest) -> tuple[Architecture, Graph]:
    """What the start is for: any network, a language model, or the pipeline's own."""
    if name in SPECIAL:
        return request.getfixturevalue("special")
    if name in OWN:
        return request.getfixturevalue(OWN[name])
    if name in LANGUAGE:
        *found, _ = request.getfixturevalue("transplanted" if name == "transplant" else "language")
        return tuple(found)
    return request.getfixturevalue("denoised" if name == "diffusion" else "tiny")


@pytest.fixture(scope="module")
def arguments(
    hypernet_folder: Path,
    pipeline_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    language: tuple[Architecture, Graph, Path],
) -> dict[str, str]:
    """What stands behind the colon, for the initializers that read files."""
    larger = tmp_path_factory.mktemp("larger")
    state = {name: value.clone() for name, value in Tiny(16).state_dict().items() if name != "head.bias"}
    save_file(state, larger / "model.safetensors")
    alike = [tmp_path_factory.mktemp("alike") for _ in range(2)]
    for folder in alike:
        state = {name: value.clone() for name, value in Tiny().state_dict().items() if name != "head.bias"}
        save_file(state, folder / "model.safetensors")
    narrow, graph = describe("timm:test_vit?embed_dim=32")
    donor = tmp_path_factory.mktemp("donor") / "model.safetensors"
    save_file(dict(initializer_of("library").tensors(narrow, graph, seed=0)), donor)
    ready = tmp_path_factory.mktemp("ready")
    state = {name: value.clone() for name, value in Tiny().state_dict().items() if name != "head.weight"}
    save_file(state, ready / "model.safetensors")
    (ready / "config.json").write_text("{}")
    about = {"how": "warmup", "steps": 1, "seconds": 1.5}
    left = next(name for name, value in state.items() if value.dim() > 1)
    record = {
        "format_version": 1,
        "initializer": {"preparation": about},
        "tensors": {left: {"rule": "library"}},
    }
    (ready / "paramgen.json").write_text(json.dumps(record))
    smaller = language[2]
    text = smaller / "text.txt"
    text.write_text("a text of a few words")
    return {
        "diffusion": f":{pipeline_folder}?prompt=sepia",
        "hypernet": f":{hypernet_folder}",
        "matched": ":he?mode=fan_out",
        "shuffled": ":he?mode=fan_out",
        "unigram": f":{text}?tokenizer={smaller}",
        "average": f":{alike[0]},{alike[1]}",
        "prepared": f":{ready}",
        "inherit": f":{donor}?arch=timm:test_vit?embed_dim=32&head=false",
        "weight_selection": f":{larger}",
        "grow": f":{smaller}",
        "transplant": f":{smaller}?tokenizer={smaller}",
    }


@pytest.mark.parametrize("name", initializers.names())
def test_every_initializer_fills_every_slot_once_by_a_named_rule(
    name: str, subject: tuple[Architecture, Graph], arguments: dict[str, str]
) -> None:
    (architecture, graph), initializer = subject, initializer_of(name + arguments.get(name, ""))
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
    if name != "transplant":  # whose tables are the other model's
        assert any(not torch.equal(value, other[slot]) for slot, value in drawn)


@pytest.mark.parametrize("name", initializers.names())
def test_a_part_of_a_prediction_is_what_the_whole_has_there(
    name: str, subject: tuple[Architecture, Graph], arguments: dict[str, str]
) -> None:
    initializer = initializer_of(name + arguments.get(name, ""))
    whole = prediction_of(*subject, initializer, init=name, seed=3, dtype="bfloat16")
    every = dict(whole)
    first, *_, last = every
    for names in ([first], [last, first], list(reversed(every))):
        part = list(whole.only(names))
        assert sorted(slot for slot, _ in part) == sorted(names)
        assert all(torch.equal(value, every[slot]) for slot, value in part)
        if name not in ("diffusion", "hypernet", "lsuv"):  # these make everything together
            assert [slot for slot, _ in part] == names


@pytest.mark.parametrize("name", initializers.names())
def test_what_is_called_the_librarys_is_what_the_library_draws(
    name: str, subject: tuple[Architecture, Graph], arguments: dict[str, str]
) -> None:
    (architecture, graph), initializer = subject, initializer_of(name + arguments.get(name, ""))
    rules = initializer.rules(architecture, graph)
    drawn = dict(initializer.tensors(architecture, graph, seed=3))
    own = [slot for slot in architecture.manifest.filled if rules[slot.name] in ("library", "kept", "plain")]
    assert own or name in ("diffusion", "transplant")
    assert all(torch.equal(drawn[slot.name], default_weights(slot, 3)) for slot in own)
    assert all(not drawn[slot].any() for slot, rule in rules.items() if rule == "zero")


@pytest.mark.parametrize("name", initializers.names())
def test_a_graph_alone_is_enough_or_refused_in_one_line(
    name: str, subject: tuple[Architecture, Graph], arguments: dict[str, str]
) -> None:
    (architecture, graph), initializer = subject, initializer_of(name + arguments.get(name, ""))
    bare = dataclasses.replace(architecture, module=None, example=None)
    if name == "lsuv":
        for ask in (initializer.rules, lambda *given: list(initializer.tensors(*given, seed=0))):
            with pytest.raises(OptionError, match="a graph's JSON is not enough. Give arch") as refusal:
                ask(bare, graph)
            assert "\n" not in str(refusal.value)
        return
    if name == "virgo":  # which needs the example's graph
        assert "in a graph's JSON" in (initializer.hindrance(bare, graph) or "")
        return
    assert initializer.rules(bare, graph) == initializer.rules(architecture, graph)
    assert {slot for slot, _ in initializer.tensors(bare, graph, seed=0)} == initializer.rules(bare, graph).keys()


@pytest.mark.parametrize("name", initializers.names())
def test_every_initializer_is_a_final_frozen_dataclass(name: str) -> None:
    kind = initializers.get(name)
    assert dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen
    assert vars(kind).get("__final__")
    assert kind.__doc__


def test_a_file_is_called_like_what_it_registers() -> None:
    base = {"linear_maps", "modified"}  # of the closed forms, and an initializer with modifiers: made by no name
    found = {module.name for module in pkgutil.iter_modules(paramgen.initializers.__path__) if not module.ispkg}
    assert initializers.names() == sorted(found - base)
    files = {module.name for module in pkgutil.iter_modules(paramgen.architectures.__path__)}
    assert set(sources.names()) <= files
