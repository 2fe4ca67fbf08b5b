"""What is written is what the library's own loader makes of it, in a process that has never heard of paramgen."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import paramgen
from paramgen.architectures.materialize import materialize
from paramgen.output.planning import plan_folder
from paramgen.output.write import write_prediction
from paramgen.prediction import DTYPES, Prediction

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

READER = Path(__file__).parents[1] / "support" / "read_folders.py"
OWN = """
import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import nn

class Tiny(nn.Module):
    def __init__(self, width: int = 8, **rest):
        super().__init__()
        assert not rest, rest
        self.embed = nn.Embedding(50, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 50)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.norm(self.embed(ids)))

class Mixed(Tiny, PyTorchModelHubMixin):
    pass

def build(width=8):
    return Tiny(width)

example_input = torch.zeros(2, 7, dtype=torch.long)
"""
TEXT = "vocab_size=64&bos_token_id=1&eos_token_id=2"
NETWORKS = {
    "transformers": {
        "vit?hidden_size=32&num_hidden_layers=1&num_attention_heads=2&intermediate_size=32&image_size=32": (
            "AutoModelForImageClassification"
        ),
        f"gpt2?n_embd=32&n_layer=2&n_head=2&{TEXT}": "AutoModelForCausalLM",
        f"llama?hidden_size=32&intermediate_size=48&num_hidden_layers=1&num_attention_heads=2&{TEXT}": (
            "AutoModelForCausalLM"
        ),
        "t5?d_model=32&d_ff=32&num_layers=1&num_heads=2&vocab_size=64&d_kv=16": "AutoModelForSeq2SeqLM",
        "bert?hidden_size=32&num_hidden_layers=1&num_attention_heads=2&intermediate_size=32&vocab_size=64": (
            "AutoModelForMaskedLM"
        ),
    },
    "timm": {
        "vit_tiny_patch16_224?img_size=32&patch_size=8&depth=1&embed_dim=48&num_classes=5": "",
        "resnet10t?in_chans=1&num_classes=3": "",
    },
    "torchvision": {"shufflenet_v2_x0_5?num_classes=3": "", "squeezenet1_1": ""},
    "diffusers": {
        "UNet2DModel?block_out_channels=[16,32]&layers_per_block=1&norm_num_groups=8&sample_size=16"
        '&down_block_types=["DownBlock2D","AttnDownBlock2D"]&up_block_types=["AttnUpBlock2D","UpBlock2D"]': "",
        "AutoencoderKL?block_out_channels=[16]&norm_num_groups=8": "",
    },
    "module": {"build": "", "Mixed": ""},
}
SHARD = {"transformers": "10KB", "diffusers": "50KB", "timm": "50KB", "torchvision": "50KB", "module": "1KB"}
FLOAT32 = {"timm", "Mixed"}  # their loaders build the network in float32, whatever is in the file


def predictions(source: str, folder: Path) -> Iterator[tuple[str, Prediction, dict[str, Any]]]:
    """Yield each network of a source once for every dtype, with what its reader must know."""
    for number, (name, auto) in enumerate(NETWORKS[source].items()):
        spec = f"{folder / 'own.py'}:{name}" if source == "module" else f"{source}:{name}"
        overrides = {"width": 12} if source == "module" else None
        prediction = paramgen.predict(spec, init="library", overrides=overrides)
        assert prediction.architecture.example is not None
        arguments, options = prediction.architecture.example
        inputs = {str(place): value for place, value in enumerate(arguments)} | dict(options)
        probe = folder / f"probe-{source}-{number}.safetensors"
        save_file({key: like(value) for key, value in inputs.items() if isinstance(value, Tensor)}, probe)
        case = {
            "source": source,
            "auto": auto,
            "class": name,
            "probe": str(probe),
            "options": {key: value for key, value in options.items() if not isinstance(value, Tensor)},
            "tied": {
                slot.name: slot.tied_to
                for slot in prediction.architecture.manifest.values()
                if slot.tied_to is not None
            },
        }
        for dtype in DTYPES:
            if (name.partition("?")[0], dtype) == ("t5", "float16"):
                continue  # transformers computes with some of its weights in float32 then
            yield name, replace(prediction, dtype=DTYPES[dtype]), {**case, "dtype": dtype}


def like(example: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if example.is_floating_point():
        return torch.randn(example.shape, generator=generator)
    return torch.randint(0, 50, example.shape, generator=generator)


def expected(prediction: Prediction, case: dict[str, Any], float32: bool) -> str:
    specification = importlib.util.spec_from_file_location("read_folders", READER)
    assert specification is not None and specification.loader is not None
    reader = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(reader)
    state = {name: value.float() if float32 and value.is_floating_point() else value for name, value in prediction}
    found: str = reader.logits(
        materialize(prediction.architecture, state), {**case, "inputs": reader.load_file(case["probe"])}
    )
    return found


def test_a_fresh_process_makes_of_it_what_was_predicted(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    cases: list[dict[str, Any]] = []
    wanted = []
    for name, prediction, case in (each for source in NETWORKS for each in predictions(source, tmp_path)):
        source = case["source"]
        float32 = bool({source, name} & FLOAT32)
        logits = expected(prediction, case, float32)
        for shards in (False, True):
            folder = tmp_path / str(len(cases))
            size = SHARD[source] if shards else "5GB"
            written = write_prediction(plan_folder(prediction, max_shard=size), folder)
            layout = prediction.architecture.layout
            assert any(file.endswith(".index.json") for file in written.files) == (shards and layout.shardable)
            cases.append({**case, "folder": str(folder)})
            wanted.append((f"{source} {name} {case['dtype']} {size}", "float32" if float32 else case["dtype"], logits))
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-W", "ignore", str(READER)]
    done = subprocess.run(
        command, input=json.dumps(cases), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    nothing: dict[str, Any] = {"changed": [], "untied": [], "unread": []}
    for (what, dtype, logits), found in zip(wanted, json.loads(done.stdout.splitlines()[-1]), strict=True):
        assert found == {**nothing, "dtype": dtype, "logits": logits}, what
