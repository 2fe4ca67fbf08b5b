"""Residual branches that begin at zero: the network computes what its skip connections do, and still learns."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.architectures.materialize import materialize
from paramgen.initializers import initializer_of
from paramgen.prediction import Prediction, prepare

WIDTH = 16


class Block(nn.Module):
    """A residual branch with a gate or a norm at its end, or neither."""

    def __init__(self, end: str) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.gate = nn.Parameter(torch.ones(())) if end == "gate" else None
        self.norm = nn.LayerNorm(WIDTH) if end == "norm" else None
        nn.init.normal_(self.last.bias)

    def forward(self, states: Tensor) -> Tensor:
        branch = self.last(self.first(states).relu())
        branch = branch if self.norm is None else self.norm(branch)
        return states + (branch if self.gate is None else self.gate * branch)


class Residual(nn.Module):
    """A stem, residual blocks, a head."""

    def __init__(self, end: str, depth: int = 3) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(8, WIDTH), nn.Linear(WIDTH, 4)
        self.blocks = [Block(end) for _ in range(depth)]
        self.layers = nn.Sequential(*self.blocks)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.layers(self.stem(inputs)))


def predicted(end: str, init: str) -> tuple[Residual, Prediction]:
    module = Residual(end)
    prediction = prepare(module, init=init, example_input=((torch.randn(2, 8),), {}))
    module.load_state_dict(prediction.state_dict())
    return module, prediction


@pytest.mark.parametrize("end", ["gate", "norm", "weight"])
@pytest.mark.parametrize("inner", ["rezero", "rezero:he"])
def test_a_closed_network_computes_what_its_trunk_does_and_every_block_can_learn(end: str, inner: str) -> None:
    module, prediction = predicted(end, inner)
    inputs = torch.randn(5, 8)
    outputs = module(inputs)
    assert torch.allclose(outputs, module.head(module.stem(inputs)), atol=1e-6)
    assert {f"rezero {end}"} == {rule for rule in prediction.rules.values() if rule.startswith("rezero")}
    outputs.square().mean().backward()
    for block in module.blocks:
        name = {"gate": "gate", "norm": "norm.weight", "weight": "last.weight"}[end]
        gradient = block.get_parameter(name).grad
        assert gradient is not None and bool(gradient.abs().sum() > 0)
        assert bool(block.first.weight.abs().sum() > 0)


def test_fixup_divides_the_first_weights_and_zeroes_the_last_and_the_output() -> None:
    module, _ = predicted("weight", "rezero?init=he&by=fixup")
    plain, _ = predicted("weight", "he")
    for block, whole in zip(module.blocks, plain.blocks, strict=True):
        assert torch.allclose(block.first.weight, whole.first.weight * 3 ** (-1 / 2))  # L = 3 branches, m = 2 weights
        assert not block.last.weight.any()
    assert not module.head.weight.any() and torch.equal(module.stem.weight, plain.stem.weight)


NETWORKS = [
    ("timm:test_resnet", {}, "norm"),
    ("timm:test_convnext", {}, "gate"),
    ("gpt2", {"n_layer": 2, "n_embd": 16, "n_head": 2, "vocab_size": 50, "n_positions": 16}, "weight"),
    pytest.param("timm:test_vit", {}, "weight", marks=pytest.mark.slow),
    pytest.param("timm:test_resnet", {}, "norm", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("arch", "overrides", "closed"), NETWORKS)
def test_in_networks_of_the_libraries_every_sum_returns_its_skip(
    arch: str, overrides: dict[str, Any], closed: str
) -> None:
    """Nothing inside a branch reaches the output: with other weights there, it is the same to the last bit."""
    prediction = prepare(arch, init="rezero", overrides=overrides)
    rules, state = prediction.rules, prediction.state_dict()
    assert {rule for rule in rules.values() if rule.startswith("rezero")} == {f"rezero {closed}"}
    found = paramgen_branches(prediction)
    assert found
    args, kwargs = prediction.architecture.example or ((), {})
    generator = torch.Generator().manual_seed(0)
    args = tuple(_values(each, generator) for each in args)
    kwargs = {name: _values(each, generator) for name, each in kwargs.items()}
    outputs = []
    for scale in (1.0, 3.0):
        changed = {name: value * scale if name in found else value for name, value in state.items()}
        module = materialize(prediction.architecture, changed).eval()
        with torch.no_grad():
            outputs.append(module(*args, **kwargs))
    one, other = (each if isinstance(each, Tensor) else each[0] for each in outputs)
    assert torch.equal(one, other) and bool(one.abs().sum() > 0)


def paramgen_branches(prediction: Prediction) -> set[str]:
    from paramgen.graphs.analysis.residual import CLOSINGS, residual_branches

    manifest = prediction.architecture.manifest
    return {slot for branch in residual_branches(prediction.graph, manifest, CLOSINGS) for slot in branch.weights}


def _values(example: Any, generator: torch.Generator) -> Any:
    if not isinstance(example, Tensor):
        return example
    if example.is_floating_point():
        return torch.randn(example.shape, generator=generator)
    return torch.randint(2, example.shape, generator=generator)


@pytest.mark.parametrize(
    ("end", "init", "message"),
    [
        ("weight", "rezero?by=gate", "no residual branch of it ends with a gate"),
        ("norm", "rezero?by=fixup", "no residual branch of it ends with a last weight without a norm"),
    ],
)
def test_a_way_that_does_not_fit_is_refused(end: str, init: str, message: str) -> None:
    with pytest.raises(paramgen.ParamgenError, match=message):
        predicted(end, init)


def test_a_network_without_branches_is_told_what_to_type() -> None:
    with pytest.raises(paramgen.ParamgenError, match="it has no residual branch"):
        paramgen.predict(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), init="rezero")


def test_it_is_known_by_the_initializer_behind_it_and_by_what_it_divides() -> None:
    assert initializer_of("rezero").describe() == {}
    assert initializer_of("rezero:he").describe()["of"]["init"] == "he"
    _, prediction = predicted("weight", "rezero?init=he&by=fixup")
    divided = prediction.initializer.builds_on(prediction.architecture, prediction.graph)
    assert divided == {f"layers.{index}.first.weight" for index in range(3)}
    assert {prediction.rules[name] for name in divided} == {"rezero fixup"}


def test_what_is_zero_has_no_share_of_the_initializer_behind_it() -> None:
    behind = prepare("timm:resnet18", init="hypernet")
    own = initializer_of("rezero?init=hypernet")
    rules = own.rules(behind.architecture, behind.graph)
    shares = initializer_of("hypernet").shares(behind.architecture, behind.graph)
    kept = {name: share for name, share in shares.items() if not rules[name].startswith("rezero")}
    assert own.shares(behind.architecture, behind.graph) == kept and 0 < len(kept) < len(shares)
