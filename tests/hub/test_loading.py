"""What was pushed is loaded by each library, in a fresh process with an empty cache."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import paramgen
from tests.support.hub.connected import connected, environment_of
from tests.support.hub.trial import trial

pytestmark = pytest.mark.slow

VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 32}
LLAMA = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
UNET = {"sample_size": 8, "layers_per_block": 1, "block_out_channels": [32, 32], "norm_num_groups": 8}
UNET |= {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2}
STARTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "vit": ("transformers:vit", VIT | {"patch_size": 8}, "5GB"),
    "timm": ("timm:test_vit", {}, "5GB"),
    "unet": ("diffusers:UNet2DModel", UNET, "5GB"),
    "llama": ("transformers:llama", LLAMA | {"tie_word_embeddings": False}, "20KB"),
}
LOAD = """
from pathlib import Path
import torch
from safetensors.torch import load_file
from paramgen._optional.torchvision import ensure_torchvision
ensure_torchvision()
import timm
from diffusers import UNet2DModel
from transformers import LlamaForCausalLM, ViTForImageClassification

loaded = {
    "vit": ViTForImageClassification.from_pretrained("me/vit"),
    "timm": timm.create_model("hf-hub:me/timm", pretrained=True),
    "unet": UNet2DModel.from_pretrained("me/unet"),
    "llama": LlamaForCausalLM.from_pretrained("me/llama"),
}
for name, module in loaded.items():
    stored = {key: value for file in Path(name).glob("*.safetensors") for key, value in load_file(file).items()}
    state = module.state_dict()
    assert state.keys() == stored.keys(), name
    for key, value in stored.items():
        assert state[key].dtype == value.dtype and torch.equal(state[key].view(torch.uint8), value.view(torch.uint8))
    print(name, len(list(Path(name).glob("*.safetensors"))))
"""


def test_libraries_load_what_was_pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected(tmp_path, monkeypatch) as hub:
        for name, (spec, overrides, shard) in STARTS.items():
            paramgen.write(spec, tmp_path / name, init="library", overrides=overrides, max_shard=shard)
            paramgen.push(tmp_path / name, f"me/{name}")
        environment = os.environ | environment_of(hub, tmp_path)
        command = [sys.executable, "-W", "ignore", "-c", LOAD]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shards = dict(line.split() for line in done.stdout.splitlines())
    assert shards.keys() == STARTS.keys() and int(shards["llama"]) > 2 and shards["vit"] == "1"


@pytest.mark.parametrize("xet", [True, False], ids=["xet", "lfs"])
def test_faults_leave_all_or_nothing(xet: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected(tmp_path, monkeypatch, xet=xet) as hub:
        outcomes = {trial(hub, tmp_path, seed) for seed in range(100, 140)}
    assert outcomes >= {"pushed in spite of it", "refused, then completed"}
