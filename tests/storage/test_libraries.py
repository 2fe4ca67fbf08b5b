"""Shards and index as transformers and diffusers write and read them, with small real models."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from paramgen._optional.torchvision import ensure_torchvision
from paramgen.storage.plan import Entry, plan
from paramgen.storage.writer import SafetensorsWriter

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


def write(model: Any, folder: Path, weights_file: str, max_shard: str) -> None:
    tensors = model.state_dict()
    entries = [Entry(name, tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()]
    with SafetensorsWriter(plan(entries, weights_file=weights_file, max_shard=max_shard), folder) as writer:
        for name, tensor in reversed(list(tensors.items())):
            writer.write(name, tensor)
    (model.save_config if hasattr(model, "save_config") else model.config.save_pretrained)(folder)


def compare(model: Any, tmp_path: Path, weights_file: str) -> None:
    """Write the folder as we do and as the library does; then let the library read ours."""
    (tmp_path / "ours").mkdir()
    write(model, tmp_path / "ours", weights_file, "10KB")
    model.save_pretrained(tmp_path / "theirs", max_shard_size="10KB")
    ours, theirs = ({path.name for path in (tmp_path / name).glob("*.safetensors*")} for name in ("ours", "theirs"))
    assert len(ours) > 3
    assert ours == theirs
    index = f"{weights_file}.index.json"
    maps = [json.loads((tmp_path / name / index).read_text())["weight_map"] for name in ("ours", "theirs")]
    assert maps[0] == maps[1]
    for name in ours - {index}:
        one, other = (load_file(tmp_path / folder / name) for folder in ("ours", "theirs"))
        assert one.keys() == other.keys()
        assert all(one[slot].equal(other[slot]) for slot in one)
    loaded, report = type(model).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values())
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(state[name].equal(tensor) for name, tensor in model.state_dict().items())


def test_transformers(tmp_path: Path) -> None:
    ensure_torchvision()
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes: dict[str, Any] = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    model = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2, tie_word_embeddings=False))
    compare(model, tmp_path, "model.safetensors")


def test_diffusers(tmp_path: Path) -> None:
    ensure_torchvision()
    from diffusers import UNet2DModel

    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (32,)}
    model = UNet2DModel(sample_size=8, layers_per_block=1, norm_num_groups=8, add_attention=False, **blocks)
    compare(model, tmp_path, "diffusion_pytorch_model.safetensors")
