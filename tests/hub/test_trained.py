"""A single safetensors file as a trained model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch import nn

import paramgen
from paramgen.errors import OptionError

if TYPE_CHECKING:
    from conftest import Command

GPT2 = {"n_layer": 1, "n_embd": 8, "n_head": 2, "n_positions": 16, "vocab_size": 60}
GPT2 |= {"bos_token_id": 0, "eos_token_id": 0}


@pytest.fixture
def donor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_file({"weight": torch.full((9, 9), 4.0), "bias": torch.ones(9)}, "donor.safetensors")
    save_file({"weight": torch.zeros(9, 9)}, "other.safetensors")  # the folder has more than one
    return tmp_path / "donor.safetensors"


def test_weights_are_selected_from_the_very_file(donor: Path) -> None:
    prediction = paramgen.predict(
        nn.Linear(3, 3), init="weight_selection:donor.safetensors?head=true", example_input=torch.zeros(2, 3)
    )
    assert set(prediction.state_dict()["weight"].flatten().tolist()) == {4.0}
    described = dict(prediction.resolved.describe())
    assert described["larger_model"] == "donor.safetensors" and len(described["sha256"]) == 64
    assert "repo" not in prediction.initializer.provenance()
    bytes_before = described["sha256"]
    save_file({"weight": torch.full((9, 9), 5.0)}, donor)
    again = paramgen.predict(nn.Linear(3, 3), init=f"weight_selection:{donor}?head=true")
    assert dict(again.initializer.describe())["sha256"] != bytes_before


def test_a_config_beside_the_file_is_enough_to_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paramgen.write("transformers:gpt2", "small", init="library", overrides=GPT2)
    wanted: dict[str, Any] = {"overrides": {**GPT2, "n_embd": 16}, "seed": 1}
    file = paramgen.predict("transformers:gpt2", init="grow:small/model.safetensors", **wanted).state_dict()
    folder = paramgen.predict("transformers:gpt2", init="grow:small", **wanted).state_dict()
    assert all(torch.equal(file[name], folder[name]) for name in folder)
    Path("small/config.json").unlink()
    with pytest.raises(OptionError, match=r"grow needs the config.json of the smaller model, and there is none beside"):
        paramgen.predict("transformers:gpt2", init="grow:small/model.safetensors", **wanted)


@pytest.mark.parametrize(
    ("init", "said"),
    [
        ("grow:donor.safetensors", "grow needs the config.json of the smaller model"),
        (
            "transplant:donor.safetensors?tokenizer=tokenizer.json",
            "transplant needs the config.json of the trained model",
        ),
        ("weight_selection:donor.bin", "'donor.bin' is no safetensors file. Allowed: a .safetensors file, a folder"),
        ("weight_selection:none.safetensors", "There is no folder or file 'none.safetensors'"),
        ("weight_selection:torn.safetensors", "is not a whole safetensors file"),
    ],
)
def test_what_is_missing_is_one_line(donor: Path, command: "Command", init: str, said: str) -> None:
    Path("donor.bin").write_bytes(b"pickle")
    Path("torn.safetensors").write_bytes(donor.read_bytes()[:-8])
    Tokenizer(BPE({"a": 0, "b": 1}, [])).save("tokenizer.json")
    (donor.parent / "own.py").write_text("from torch import nn\ndef build():\n    return nn.Linear(3, 3)\n")
    assert said in command("predict", "--arch", "own.py:build", "--init", init, "--out", "out").refusal
    assert not Path("out").exists()


def test_a_folder_filled_from_a_file_says_so(donor: Path, command: "Command") -> None:
    Path("own.py").write_text("from torch import nn\ndef build():\n    return nn.Linear(3, 3)\n")
    words = ("--init", "weight_selection:donor.safetensors?head=true", "--out", "out", "-q")
    assert command("predict", "--arch", "own.py:build", *words).status == 0
    record = json.loads(Path("out/paramgen.json").read_text())
    assert record["provenance"]["from"] == "donor.safetensors"
    assert "base_model" not in Path("out/README.md").read_text()
