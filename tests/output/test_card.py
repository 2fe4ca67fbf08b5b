"""The card of a folder of every source: the Hub reads it, its command makes the same bytes, its lines load them."""

import json
import re
import shlex
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from huggingface_hub import ModelCard
from torch import nn

import paramgen

if TYPE_CHECKING:
    from conftest import Command

pytestmark = pytest.mark.slow

# What is typed, the library that the Hub is told, the task, and a tag.
SOURCES: dict[str, tuple[list[str], str, str | None, str | None]] = {
    "transformers": (
        ["--arch", "transformers:gpt2", "--set", "n_layer=1", "--set", "n_embd=32", "--set", "n_head=2", "--init",
         "mimetic", "--max-shard", "3MB"], "transformers", "text-generation", "gpt2",
    ),
    "timm": (
        ["--arch", "timm:resnet18?num_classes=3", "--set", "act_layer=silu", "--seed", "4"], "timm",
        "image-classification", "resnet18",
    ),
    "torchvision": (
        ["--arch", "torchvision:squeezenet1_1", "--set", "num_classes=7", "--dtype", "bfloat16", "--init",
         "he?mode=fan_out"], "pytorch", "image-classification", "squeezenet1_1",
    ),
    "diffusers": (
        ["--arch", "diffusers:UNet2DModel", "--set", "sample_size=8", "--set", "block_out_channels=[32, 32]", "--set",
         "down_block_types=[\"DownBlock2D\", \"DownBlock2D\"]", "--set",
         "up_block_types=[\"UpBlock2D\", \"UpBlock2D\"]", "--init", "orthogonal"], "diffusers",
        "unconditional-image-generation", "UNet2DModel",
    ),
    "own": (["--arch", "own.py:build", "--set", "width=12", "--example-input", "2x3x16x16"], "pytorch", None, None),
    "graph": (["--arch", "g.json", "--init", "hypernet"], "pytorch", None, None),
    "weight_selection": (
        ["--arch", "own.py:build", "--set", "width=4", "--init", "weight_selection:own"], "pytorch", None, None,
    ),
}  # fmt: skip


@pytest.fixture
def folders(command: "Command", own: Path, tmp_path: Path) -> Path:
    assert command("graph", "--arch", "own.py:build", "--out", "g.json", "--quiet").status == 0
    for name, (words, *_) in SOURCES.items():
        done = command("predict", *words, "--out", name, "--quiet")
        assert done.status == 0, done
    return tmp_path


def weights(folder: Path) -> dict[str, str]:
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in sorted(folder.glob("*.safetensors"))}


def block(card: ModelCard, language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", card.text, re.MULTILINE | re.DOTALL)
    return str(found)


def test_every_card(command: "Command", folders: Path) -> None:
    program = ["import warnings; warnings.simplefilter('ignore')", "from pathlib import Path"]
    for name, (_, library, task, tag) in SOURCES.items():
        card = ModelCard.load(folders / name / "README.md")
        data = card.data.to_dict()
        assert (data["library_name"], data.get("pipeline_tag"), data["license"]) == (library, task, "apache-2.0")
        assert data["tags"][:2] == ["paramgen", "weight-initialization"] and (tag is None or tag in data["tags"])
        before = weights(folders / name)
        assert before
        words = shlex.split(block(card, "sh"))
        assert words[:2] == ["paramgen", "predict"] and words[-2:] == ["--out", name]
        again = command(*words[1:-1], f"again-{name}", "--quiet")
        assert again.status == 0 and weights(folders / f"again-{name}") == before, again
        load = block(card, "python").replace("module)", "own.build())")  # of a graph alone, the reader has the network
        program += ["import own", load, f"count = sum(p.numel() for p in model.parameters()); print({name!r}, count)"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(program)], cwd=folders, capture_output=True, text=True, check=True
    )
    counts = dict(line.split() for line in done.stdout.splitlines())
    recorded = {name: json.loads((folders / name / "paramgen.json").read_text())["parameters"] for name in SOURCES}
    assert {name: int(count) for name, count in counts.items()} == recorded


def test_a_live_module_has_no_command(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    paramgen.write(module, tmp_path / "out", init="orthogonal", seed=2, example_input=torch.zeros(1, 4))
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert "```sh" not in card.text and "no command makes them again" in card.text
    assert "paramgen.write(module, FOLDER, init='orthogonal', seed=2)" in card.text
    assert "paramgen.load('out', module)" in block(card, "python")
