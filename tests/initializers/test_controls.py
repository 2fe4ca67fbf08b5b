"""Controls keep one thing of another initializer, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import pytest
import torch
from torch import Tensor

import paramgen
from paramgen.architectures import Architecture
from paramgen.errors import OptionError, UnknownNameError
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, initializer_of
from paramgen.initializers.matched import Matched, at_norm_of


def drawn(init: str) -> dict[str, Tensor]:
    arch = "timm:resnet10t"
    return paramgen.predict(arch, init=init, seed=3, overrides={"num_classes": 5}).state_dict()


def test_matched_has_the_others_norms_and_the_librarys_directions() -> None:
    other, matched, library = drawn("orthogonal"), drawn("matched:orthogonal"), drawn("library")
    for name, tensor in matched.items():
        if tensor.ndim < 2 or not tensor.is_floating_point():
            assert torch.equal(tensor, library[name]), name
            continue
        assert float(tensor.norm()) == pytest.approx(float(other[name].norm()), rel=1e-5)
        ratio = float(other[name].norm()) / float(library[name].norm())
        assert torch.allclose(tensor, library[name] * ratio, rtol=1e-4)
    assert not torch.equal(matched["fc.weight"], library["fc.weight"])


def test_shuffled_has_the_others_values_in_other_places() -> None:
    other, shuffled = drawn("orthogonal"), drawn("shuffled:orthogonal")
    for name, tensor in shuffled.items():
        assert torch.equal(tensor.flatten().sort().values, other[name].flatten().sort().values), name
    assert not torch.equal(shuffled["fc.weight"], other["fc.weight"])


def test_what_the_other_leaves_alone_is_the_librarys() -> None:
    prediction = paramgen.predict("timm:resnet10t", init="shuffled:orthogonal")
    inner = paramgen.predict("timm:resnet10t", init="orthogonal")
    own = {name for name, rule in inner.rules.items() if rule == "library"}
    assert own and all(prediction.rules[name] == "library" for name in own)


def test_a_control_knows_what_it_is_of() -> None:
    described = initializer_of("matched:he?mode=fan_out").describe()
    assert described["of"]["init"] == "he?mode=fan_out"
    hypernet = initializer_of("shuffled:hypernet").describe()["of"]
    assert hypernet == {"init": "hypernet", **initializer_of("hypernet").describe()}
    assert initializer_of("matched").init == "hypernet"  # type: ignore[attr-defined]
    assert initializer_of("matched:shuffled:he").inner.inner == initializer_of("he")  # type: ignore[attr-defined]


def test_a_control_of_nothing_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="'hee'.*'he'"):
        initializer_of("matched:hee")
    with pytest.raises(OptionError, match="matched:hypernet"):
        initializer_of("matched?init=")


def test_zeros_have_no_direction() -> None:
    assert not at_norm_of(torch.zeros(2, 2), torch.ones(2, 2)).any()
    assert float(at_norm_of(torch.ones(2, 2), torch.full((2, 2), 3.0)).norm()) == pytest.approx(6.0)


@final
@dataclass(frozen=True, kw_only=True)
class Accompanied(Initializer):
    """Brings a tokenizer along, and says something."""

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        return {}

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        return iter(())

    def remarks(self) -> Sequence[str]:
        return ("a remark",)

    @property
    def companion_files(self) -> Mapping[str, str]:
        return {"tokenizer": "folder"}


def test_what_belongs_beside_the_inner_weights_comes_with_a_control() -> None:
    control = Matched(init="library", _inner=Accompanied())
    assert control.remarks() == ("a remark",) and control.companion_files == {"tokenizer": "folder"}


def test_a_shuffle_is_of_the_seed_and_of_the_slot() -> None:
    def orders(seed: int) -> list[Tensor]:
        """Return where the values of two layers of the same shape went."""
        module = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Linear(16, 16))
        made = {
            init: paramgen.predict(module, init=init, seed=seed, example_input=torch.zeros(2, 16))
            for init in ("he", "shuffled:he")
        }
        assert made["shuffled:he"].rules["0.weight"] == "shuffled"
        values = {init: each.state_dict() for init, each in made.items()}
        ranks = {
            init: [each[f"{index}.weight"].flatten().argsort() for index in (0, 1)] for init, each in values.items()
        }
        return [after[before.argsort()] for before, after in zip(ranks["he"], ranks["shuffled:he"], strict=True)]

    first, again, other = orders(1), orders(1), orders(2)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])
