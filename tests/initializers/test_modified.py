"""Chains: what modifiers make of another initializer, and which chains are refused."""

import pytest
import torch
from torch import nn

import paramgen
from paramgen.errors import OptionError, UnknownNameError
from paramgen.initializers import complete_spec, initializer_of
from paramgen.initializers.modified import Modified
from paramgen.prediction import Prediction


def network() -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 4))


def prediction(init: str, **options: object) -> Prediction:
    return paramgen.predict(network(), init=init, example_input=torch.zeros(2, 32), **options)  # type: ignore[arg-type]


def test_modifiers_change_one_after_the_other_what_the_initializer_makes() -> None:
    plain, made = prediction("he", seed=2).state_dict(), prediction("he", then=["lowrank:8", "scale:0.5"], seed=2)
    weights = made.state_dict()
    for name in ("0.weight", "2.weight"):
        assert int(torch.linalg.matrix_rank(weights[name])) == 8 and made.rules[name] == "he|lowrank|scale"
        assert torch.allclose(weights[name].norm(), plain[name].norm() / 2, rtol=1e-5)
    assert made.rules["4.weight"] == "he|scale" and torch.equal(weights["4.weight"], plain["4.weight"] / 2)
    assert made.rules["0.bias"] == "zero" and made.init == "he|lowrank:8|scale:0.5"
    assert all(torch.equal(value, weights[name]) for name, value in prediction("he|lowrank:8|scale:0.5", seed=2))


def test_scale_is_for_the_layers_requested() -> None:
    rules = prediction("he|scale:2?layers=output").rules
    assert [rules[f"{index}.weight"] for index in (0, 2, 4)] == ["he", "he", "he|scale"]
    rules = prediction("he|scale:2?layers=hidden").rules
    assert [rules[f"{index}.weight"] for index in (0, 2, 4)] == ["he|scale", "he|scale", "he"]


def test_what_auto_chose_is_said_with_its_modifiers() -> None:
    found = paramgen.predict("timm:test_resnet", init="auto", then=["scale:0.5"])
    assert found.choice is not None and found.choice.init.endswith("|scale:0.5")
    assert found.resolved.describe()["resolved"] == found.choice.init
    assert found.resolved.describe()["of"]["init"] + "|scale:0.5" == found.choice.init
    assert found.resolved.describe()["then"] == ["scale:0.5"]


def test_traits_are_those_of_the_initializer_that_is_changed() -> None:
    assert not initializer_of("he|scale").runs_network and initializer_of("he|scale").slot_by_slot
    assert initializer_of("lsuv|scale").runs_network and not initializer_of("lsuv|scale").slot_by_slot


@pytest.mark.parametrize(
    ("chain", "structure"),
    [
        ("he|lowrank|blocks", "low rank"),
        ("he|blocks|lowrank", "blocks"),
        ("he|blocks|blocks:0.5", "blocks"),
        ("he|shift|scale|lowrank", "few values"),
        ("he|lowrank|scale|shift", "low rank"),
    ],
)
def test_a_modifier_that_undoes_an_earlier_one_is_refused(chain: str, structure: str) -> None:
    with pytest.raises(
        OptionError, match=f"undoes the {structure} of .* Leave one of them out. Pass: then="
    ) as refusal:
        initializer_of(chain)
    assert "\n" not in str(refusal.value)


def test_scale_may_stand_anywhere_and_a_modifier_twice() -> None:
    for chain in ("he|scale|lowrank|scale", "he|blocks|scale", "he|shift:3|shift:2", "he|lowrank:4|lowrank:8"):
        assert isinstance(initializer_of(chain), Modified)


def test_chains_that_fill_or_change_nothing_are_refused() -> None:
    with pytest.raises(OptionError, match=r"'rezero' fills nothing of .* no residual branch"):
        prediction("rezero|scale")
    with pytest.raises(OptionError, match=r"'lowrank' changes nothing of .* lowrank:100"):
        prediction("he|lowrank:100")
    with pytest.raises(OptionError, match=r"'blocks' changes nothing of .* 50 rows and columns"):
        prediction("he|blocks:0.02")


@pytest.mark.parametrize("chain", ["he|", "|scale", "he||scale"])
def test_a_missing_part_is_refused(chain: str) -> None:
    with pytest.raises(OptionError, match="scale:0.5"):
        initializer_of(chain)


def test_an_unknown_initializer_or_modifier_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'scale'"):
        initializer_of("he|scal")
    with pytest.raises(UnknownNameError, match="'xavier'"):
        initializer_of("xavir|scale")


def test_a_prompt_is_the_initializers_own_and_modifiers_stay_behind() -> None:
    assert complete_spec("auto|scale", prompt="a | b", then=["shift"]) == 'diffusion?prompt="a | b"|scale|shift'
    assert complete_spec("he", then="scale:2") == "he|scale:2"


def test_a_control_is_changed_as_a_whole() -> None:
    plain, made = (dict(prediction(init, seed=1)) for init in ("matched:he", "matched:he|scale:2"))
    assert torch.equal(made["0.weight"], plain["0.weight"] * 2)
