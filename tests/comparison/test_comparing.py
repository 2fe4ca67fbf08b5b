"""What a comparison keeps of the initializers: where they come from, what they choose, and what fills nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import paramgen
from paramgen.errors import OptionError
from paramgen.storage.digest import cached_sha256

GPT2 = "gpt2?n_layer=1&n_embd=48&n_head=3&n_positions=32"
SMALL: dict[str, Any] = {"steps": 1, "seeds": 1, "lr": 1e-2, "batch": 4, "test_examples": 4}
SHIPPED = Path(paramgen.__file__).parent / "pretrained"


def build(num_classes: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 4))


@pytest.mark.parametrize("init", ["auto", "hypernet"])
def test_the_settings_name_the_hypernet_that_was_chosen_and_no_other(text: Path, init: str) -> None:
    found = paramgen.compare(GPT2, str(text), init=[init], **SMALL)
    kept = found.settings["inits"][init]
    (chosen,) = kept["for"].values()
    assert chosen["resolved"] == "hypernet:text" and chosen["hypernet"] == "paramgen/text"
    assert chosen["sha256"] == cached_sha256(SHIPPED / "text" / "model.safetensors")
    assert cached_sha256(SHIPPED / "vision" / "model.safetensors") not in str(found.to_json())


def test_a_control_records_the_hypernet_that_it_is_of(text: Path) -> None:
    found = paramgen.compare(GPT2, str(text), init=["matched:hypernet"], **SMALL)
    (kept,) = found.settings["inits"]["matched:hypernet"]["for"].values()
    assert kept["of"]["sha256"] == cached_sha256(SHIPPED / "text" / "model.safetensors")


def test_a_module_without_values_cannot_be_trained(photos: Path) -> None:
    with pytest.raises(OptionError, match="Linear is on the meta device, and compare trains values"):
        paramgen.compare(nn.Linear(2, 2, device="meta"), str(photos), init=["library"], **SMALL)


def test_an_initializer_that_fills_nothing_is_noted_where_others_go_on(photos: Path) -> None:
    found = paramgen.compare(("own", build), str(photos), init=["mimetic", "he", "library"], **SMALL)
    (notes,) = (each.notes for each in found.architectures)
    assert "mimetic fills nothing of own, whose row is library again: it has no rule for any part of it." in notes


def test_library_is_not_compared_with_itself(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="'mimetic' fills nothing of 'own': .*Pass another initializer") as refusal:
        paramgen.compare(("own", build), str(photos), init=["mimetic", "library"], out=tmp_path / "out", **SMALL)
    assert "\n" not in str(refusal.value) and not (tmp_path / "out" / "results.json").exists()
    options = SMALL | {"example_input": torch.zeros(2, 3, 16, 16)}
    found = paramgen.compare(("plain", plain), str(photos), init=["auto", "library"], **options)
    assert any(note.startswith("auto chose library for plain: ") for note in found.architectures[0].notes)
