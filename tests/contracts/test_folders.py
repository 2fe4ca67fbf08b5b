"""The files of a folder are those that the library itself would write, and say nothing that is not so."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import paramgen
from paramgen.architectures.materialize import materialize

pytestmark = pytest.mark.filterwarnings("default")
GPT2 = "transformers:gpt2?n_embd=8&n_layer=1&n_head=2&vocab_size=9&n_positions=8&bos_token_id=1&eos_token_id=2"
MIXED = """
import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import nn

class Mixed(nn.Linear, PyTorchModelHubMixin):
    def __init__(self, width: int = 4, **rest):
        assert not rest, rest
        super().__init__(width, width)

example_input = torch.zeros(2, 5)
"""


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_transformers_would_write_the_same_files(tmp_path: Path) -> None:
    prediction = paramgen.predict(GPT2, init="library", dtype="bfloat16")
    paramgen.write(GPT2, tmp_path / "ours", init="library", dtype="bfloat16")
    model: Any = materialize(prediction.architecture, dict(prediction))
    model.save_pretrained(tmp_path / "theirs")
    listed = {name: set(os.listdir(tmp_path / name)) for name in ("ours", "theirs")}
    assert listed["theirs"] <= listed["ours"] <= listed["theirs"] | {"paramgen.json", "README.md"}
    for name in ("model.safetensors", "generation_config.json"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes(), name
    ours, theirs = (read(tmp_path / name / "config.json") for name in ("ours", "theirs"))
    assert {key: ours[key] for key in theirs} == theirs  # which leaves out what is as by default


def test_a_graph_alone_brings_the_same_files(tmp_path: Path) -> None:
    from paramgen.graphs.graph_json import graph_from_json, graph_to_json

    text = graph_to_json(*paramgen.graph(GPT2))
    (tmp_path / "g.json").write_text(text)
    paramgen.write(str(tmp_path / "g.json"), tmp_path / "graph", init="library")
    paramgen.write(GPT2, tmp_path / "named", init="library")
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        assert (tmp_path / "graph" / name).read_bytes() == (tmp_path / "named" / name).read_bytes(), name
    hostile = json.loads(text)
    for files in ({"../x": ""}, {"module.json": "{}"}, {"generation_config.json": 3}, ["a"]):
        hostile["layout"]["files"] = files
        with pytest.raises(paramgen.ParamgenError):
            graph_from_json(json.dumps(hostile))


def test_an_encoder_has_no_file_on_generation(tmp_path: Path) -> None:
    arch = "transformers:bert?hidden_size=8&num_hidden_layers=1&num_attention_heads=2&intermediate_size=8&vocab_size=9"
    assert "generation_config.json" not in paramgen.write(arch, tmp_path / "out", init="library").files


def test_timms_config_fits_the_network_and_claims_nothing_for_it(tmp_path: Path) -> None:
    arch = "timm:vit_tiny_patch16_224?img_size=[32,64]&patch_size=16&in_chans=1&depth=1&num_classes=5"
    paramgen.write(arch, tmp_path / "out", init="library")
    config = read(tmp_path / "out" / "config.json")
    assert (config["architecture"], config["num_classes"], config["num_features"]) == ("vit_tiny_patch16_224", 5, 192)
    assert config["model_args"]["depth"] == 1
    pretrained = config["pretrained_cfg"]
    assert pretrained["input_size"] == [1, 32, 64] and len(pretrained["mean"]) == len(pretrained["std"]) == 1
    assert not {"tag", "license", "origin_url", "paper_ids", "url", "hf_hub_id"} & pretrained.keys()


def test_a_hub_mixins_own_class_reads_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_mixed.py").write_text(MIXED)
    monkeypatch.syspath_prepend(tmp_path)
    from own_mixed import Mixed

    written = paramgen.write(f"{tmp_path / 'own_mixed.py'}:Mixed", tmp_path / "out", overrides={"width": 5})
    assert written.checked is not None and written.checked.loaded_by == "module"
    assert read(tmp_path / "out" / "config.json") == {"width": 5}
    loaded = paramgen.load(tmp_path / "out")
    assert not capfd.readouterr().out
    model = Mixed.from_pretrained(tmp_path / "out", strict=True)
    assert model.weight.equal(loaded.weight) and model.weight.shape == (5, 5)
    model.save_pretrained(tmp_path / "theirs")
    theirs, ours = (read(tmp_path / name / "config.json") for name in ("theirs", "out"))
    assert theirs == ours

    live = Mixed(width=3)
    paramgen.write(live, tmp_path / "live", init="orthogonal", example_input=torch.zeros(2, 3))
    assert Mixed.from_pretrained(tmp_path / "live", strict=True).weight.shape == (3, 3)


def test_a_hub_mixins_folder_of_somebody_else_runs_nothing(tmp_path: Path) -> None:
    file = tmp_path / "own_mixed.py"
    file.write_text(MIXED)
    paramgen.write(f"{file}:Mixed", tmp_path / "out", overrides={"width": 5})
    record = read(tmp_path / "out" / "module.json")
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (tmp_path / "out" / "module.json").write_text(json.dumps({**record, "architecture": f"{tmp_path}/evil.py:x"}))
    assert paramgen.check(tmp_path / "out").loaded_by is None
    with pytest.raises(paramgen.ParamgenError, match="no code is run"):
        paramgen.load(tmp_path / "out")
    assert not (tmp_path / "ran").exists()
