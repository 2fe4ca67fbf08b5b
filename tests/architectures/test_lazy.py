"""Lazy layers get their shapes from the example input, and a module that is given is not run."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.architectures import resolve
from paramgen.architectures.lazy import lazy_names, with_shapes
from paramgen.architectures.module import from_module

IMAGES = torch.zeros(2, 3, 8, 8)


def lazy() -> nn.Sequential:
    layers = nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.LazyInstanceNorm2d(affine=True)
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(5))


def test_what_is_lazy_is_drawn_and_the_rest_is_kept() -> None:
    module = nn.Sequential(nn.Linear(4, 6), nn.LazyLinear(5))
    manifest = from_module(module, ((torch.zeros(2, 4),), {})).manifest
    assert manifest["1.weight"].shape == (5, 6)
    held, drawn = manifest["0.weight"].program, manifest["1.weight"].program
    assert held is not None and held.kept and drawn is not None and drawn.random and not drawn.kept
    assert lazy_names(module) == ["1.weight", "1.bias"] and type(module[1]) is nn.LazyLinear


@pytest.mark.parametrize("init", ["library", "he", "orthogonal", "lsuv"])
def test_a_lazy_module_is_filled_and_runs(init: str) -> None:
    module, other = lazy(), lazy()
    module[0].register_forward_hook(lambda *_: pytest.fail("the user's module was run"))
    state = torch.random.get_rng_state()
    rules = paramgen.initialize_(module, init=init, seed=3, example_input=IMAGES)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not lazy_names(module) and type(module[5]) is nn.Linear and module[5].in_features == 4 * 6 * 6
    assert set(rules) == set(module.state_dict()) and "plain" not in rules.values()
    assert {name for name, rule in rules.items() if rule == "kept"} == {
        "1.num_batches_tracked",
        "3.num_batches_tracked",
    }
    predicted = paramgen.predict(other, init=init, seed=3, example_input=IMAGES).state_dict()
    assert all(predicted[name].equal(tensor) for name, tensor in module.state_dict().items())
    module[0]._forward_hooks.clear()
    assert module(torch.randn(2, 3, 8, 8)).isfinite().all()


def test_seeds_draw_lazy_layers_apart() -> None:
    one, two = (dict(paramgen.predict(lazy(), init="library", seed=seed, example_input=IMAGES)) for seed in (1, 2))
    assert not one["5.weight"].equal(two["5.weight"]) and one["1.running_var"].equal(two["1.running_var"])


def test_written_and_loaded_into_a_lazy_module(tmp_path: Path) -> None:
    written = paramgen.write(lazy(), tmp_path / "out", init="library", example_input=IMAGES)
    loaded: Any = paramgen.load(tmp_path / "out", lazy())
    assert all(loaded.state_dict()[name].equal(tensor) for name, tensor in written.prediction)
    assert loaded.eval()(torch.randn(2, 3, 8, 8)).isfinite().all() and type(loaded[5]) is nn.Linear


def test_a_factory_with_lazy_layers(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("from torch import nn\n\ndef build(out=5):\n    return nn.Sequential(nn.LazyLinear(out))\n")
    with pytest.raises(paramgen.ParamgenError, match="Give an example input: example_input=") as caught:
        resolve(f"{file}:build")
    assert "\n" not in str(caught.value)
    written = paramgen.write(f"{file}:build", tmp_path / "out", init="he", example_input=torch.zeros(2, 7))
    assert written.checked is not None and written.checked.loaded_by == "module"
    assert written.prediction.rules == {"0.weight": "he", "0.bias": "zero"}
    assert paramgen.load(tmp_path / "out")(torch.zeros(2, 7)).shape == (2, 5)


class Beside(nn.Module):
    """A lazy layer that the forward pass does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.LazyLinear(3), nn.LazyLinear(3)

    def forward(self, states: Tensor) -> Tensor:
        return self.used(states)


class Reading(nn.Module):
    """Its forward pass reads values."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LazyLinear(3)

    def forward(self, states: Tensor) -> Tensor:
        return self.layer(states[: int(states.sum().item())])


@pytest.mark.parametrize(
    ("module", "example", "message"),
    [
        (nn.LazyLinear(3), None, "'weight' of LazyLinear has no shape before the first forward pass. Give an example"),
        (Beside(), torch.zeros(2, 4), "'unused.weight' of Beside has no shape: the example input does not reach"),
        (Reading(), torch.ones(2, 4), "does not go through Reading on the meta device.*module\\(example_input\\)"),
        (lazy(), torch.zeros(2, 4), "does not go through Sequential.*Expected 3D"),
    ],
)
def test_what_cannot_be_given_a_shape_is_one_line(module: nn.Module, example: Any, message: str) -> None:
    with pytest.raises(paramgen.ParamgenError, match=message) as caught:
        paramgen.initialize_(module, init="library", example_input=example)
    assert "\n" not in str(caught.value)
    assert lazy_names(module)


def test_a_layer_that_is_used_twice_and_one_with_named_inputs() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.LazyLinear(4)
            self.again = self.first

        def forward(self, states: Tensor) -> Tensor:
            return self.again(self.first(input=states))

    module: Any = with_shapes(Twice(), ((torch.zeros(2, 4),), {}))
    assert module.first is module.again and module.first.weight.shape == (4, 4)
