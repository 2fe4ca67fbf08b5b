"""What torch, Keras and configs call a dtype or an initializer is understood, and recorded under our name."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import paramgen
from paramgen.prediction import DTYPES
from paramgen.registry.synonyms import CONTROLS, INITIALIZER_SYNONYMS, known_dtype, known_init
from paramgen.registry.synonyms import DTYPE_SYNONYMS as DTYPE_NAMES

INITS = {
    "kaiming": "he",
    "kaiming_normal_": "he",
    "Kaiming-Uniform": "he?distribution=uniform",
    "kaiming?mode=fan_out": "he?mode=fan_out",
    "kaiming_uniform?mode=fan_out": "he?distribution=uniform&mode=fan_out",
    "glorot": "xavier",
    "xavier_normal": "xavier?distribution=normal",
    "default": "library",
    "matched:kaiming": "matched:he",
    "shuffled:xavier_normal?gain=1": "shuffled:xavier?distribution=normal&gain=1",
    "he": "he",
    "hypernet:folder?x=1": "hypernet:folder?x=1",
    "nosuch": "nosuch",
}


@pytest.mark.parametrize(("given", "own"), INITS.items())
def test_an_initializer_by_another_name(given: str, own: str) -> None:
    assert known_init(given) == known_init(own) == own


def test_every_name_stands_for_an_initializer_and_hides_none() -> None:
    from paramgen.initializers import Control, initializer_of, initializers

    controls = {name for name in initializers.names() if issubclass(initializers.get(name), Control)}
    assert controls == set(CONTROLS)
    for synonym, own in INITIALIZER_SYNONYMS.items():
        assert initializer_of(synonym) == initializer_of(own)
        assert synonym not in initializers.names()
    assert initializer_of("kaiming_uniform").distribution == "uniform"  # type: ignore[attr-defined]
    assert initializer_of("xavier_normal").distribution == "normal"  # type: ignore[attr-defined]


@pytest.mark.parametrize("given", ["bf16", "BF16", "bfloat16", torch.bfloat16, "torch.bfloat16"])
def test_a_dtype_as_it_comes(given: str | torch.dtype) -> None:
    prediction = paramgen.predict(nn.Linear(2, 2), init="kaiming", dtype=given)
    assert prediction.dtype is torch.bfloat16 and prediction.init == "he"
    assert {tensor.dtype for _, tensor in prediction} == {torch.bfloat16}


def test_every_dtype_has_a_table_and_torchs_own_names_agree() -> None:
    assert DTYPE_NAMES.keys() == DTYPES.keys()
    for name, synonyms in DTYPE_NAMES.items():
        for synonym in synonyms:
            assert known_dtype(synonym) == name
            assert getattr(torch, synonym, DTYPES[name]) is DTYPES[name]


@pytest.mark.parametrize("given", ["float64", torch.float64, torch.int8, "bflot16"])
def test_another_dtype_is_refused(given: str | torch.dtype) -> None:
    with pytest.raises(paramgen.ParamgenError, match=r"Unknown dtype '.*float32, bfloat16, float16.*dtype='float32'"):
        paramgen.predict(nn.Linear(2, 2), dtype=given)


def test_records_have_our_names(own: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    paramgen.write(f"{own}:build", folder, init="glorot_normal", dtype=torch.float16)
    record = json.loads((folder / "paramgen.json").read_text())
    assert (record["init"], record["dtype"]) == ("xavier?distribution=normal", "float16")
