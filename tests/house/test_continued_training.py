"""What the page on language models says about going on in several processes: its script, with gloo on this machine."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

import paramgen

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "language-models.md"
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
SIZES |= {"intermediate_size": 48, "vocab_size": 256, "bos_token_id": 0, "eos_token_id": 0}


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return found


def windows(text: bytes, rank: int) -> Tensor:
    """The first batch of a process."""
    tokens = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    starts = torch.randint(len(tokens) - 32, (8, 1), generator=torch.Generator().manual_seed(rank))
    return tokens[starts + torch.arange(32)]


@pytest.mark.slow
def test_two_processes_go_on_from_the_meta_device(tmp_path: Path) -> None:
    text = b"the owl and the pussycat went to sea in a beautiful pea-green boat\n" * 40
    (tmp_path / "notes.txt").write_bytes(text)
    (tmp_path / "continue.py").write_text(block("py"), encoding="utf-8")
    overrides = {**SIZES, "tie_word_embeddings": True}
    paramgen.write("transformers:llama", tmp_path / "start", init="scaled", overrides=overrides, max_shard="60KB")
    assert len(list((tmp_path / "start").glob("model-*.safetensors"))) > 1
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command = [*launch, "continue.py", "start", "notes.txt", "trained"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    losses = [float(line.partition(": ")[2]) for line in done.stdout.splitlines() if line.startswith("step ")]
    assert len(losses) == 10 and losses[-1] < losses[0] - 0.3
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "start")
    with torch.no_grad():  # both processes had our weights, and a batch of its own each
        alone = [float(model(batch, labels=batch).loss) for batch in (windows(text, 0), windows(text, 1))]
    assert losses[0] == pytest.approx(sum(alone) / 2, abs=1e-3)
    loaded: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "trained", output_loading_info=True)
    _, info = loaded
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert "lm_head.weight" not in load_file(tmp_path / "trained" / "model.safetensors")  # tied, stored once


def test_the_configuration_for_gpus_is_one_of_accelerate(tmp_path: Path) -> None:
    from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

    file = tmp_path / "fsdp.yaml"
    file.write_text(block("yaml"), encoding="utf-8")
    config = load_config_from_file(str(file))
    assert isinstance(config, ClusterConfig)
    assert (config.distributed_type, config.num_processes, config.fsdp_config["fsdp_version"]) == ("FSDP", 8, 2)
