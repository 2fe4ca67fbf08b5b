"""Every source: predict, write, load with the library's own loader, compare. A new source fails until it is here."""

from pathlib import Path

import pytest
import torch

import paramgen
from paramgen.architectures import sources

SMALL = {
    "diffusers": "diffusers:UNet2DModel?block_out_channels=[16,32]&layers_per_block=1&norm_num_groups=8"
    '&down_block_types=["DownBlock2D","AttnDownBlock2D"]&up_block_types=["AttnUpBlock2D","UpBlock2D"]',
    "module": "own.py:build",
    "timm": "timm:resnet18?num_classes=3",
    "torchvision": "torchvision:squeezenet1_1?num_classes=3",
    "transformers": "transformers:t5?d_model=32&d_ff=32&num_layers=1&num_heads=2&vocab_size=99&d_kv=16",
}


def test_every_source_has_a_small_network() -> None:
    assert sorted(SMALL) == sources.names()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_source_reads_back_what_was_predicted(
    name: str, dtype: str, own: Path, hypernet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    init = f"hypernet:{hypernet_folder}"
    prediction = paramgen.predict(SMALL[name], init=init, dtype=dtype)
    state = prediction.state_dict()
    written = paramgen.write(SMALL[name], "out", init=init, dtype=dtype)
    assert written.checked is not None and written.checked.loaded_by == name
    loaded = paramgen.load("out").state_dict()
    assert loaded.keys() == state.keys()
    for slot, tensor in state.items():
        assert torch.equal(loaded[slot].to(tensor.dtype), tensor), slot
    if name != "timm":  # whose loader keeps the model's own float32
        assert {value.dtype for value in loaded.values() if value.is_floating_point()} == {getattr(torch, dtype)}
    meta = paramgen.check("out", memory="meta")
    assert (meta.loaded_by, meta.memory) == (name, "meta")
    assert meta.tensors == written.checked.tensors
    rules = set(prediction.rules.values())
    assert "hypernet" in rules and rules <= {"hypernet", "library"}
