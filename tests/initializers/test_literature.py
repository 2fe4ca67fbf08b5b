"""Every initializer from the literature, over networks of every library: predicted, written, loaded, finite."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import paramgen
from paramgen.architectures.materialize import materialize
from paramgen.prediction import prepare

INITIALIZERS = ("he", "xavier", "orthogonal", "lsuv", "mimetic", "idinit")
TEXT = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "vocab_size": 50}
UNET = {
    "sample_size": 8,
    "block_out_channels": [32, 64],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
}
WITHOUT_ATTENTION = ("timm:test_convnext", "timm:test_efficientnet", "timm:mixer_s32_224", "torchvision:resnet18")
NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("timm:test_vit", {}),
    ("timm:test_convnext", {}),
    ("timm:test_efficientnet", {}),
    ("timm:mixer_s32_224", {}),
    ("torchvision:resnet18", {}),
    ("transformers:bert", TEXT),
    ("transformers:llama", {**TEXT, "num_key_value_heads": 2}),
    ("gpt2", {"n_layer": 1, "n_embd": 32, "n_head": 2}),
    ("diffusers:UNet2DModel", UNET),
]


def pairs() -> Iterator[Any]:
    """Yield every network with every initializer: the first with all, the others with one; the rest is thorough."""
    for number, (arch, overrides) in enumerate(NETWORKS):
        for init in INITIALIZERS:
            mark = pytest.mark.slow if init == INITIALIZERS[number % len(INITIALIZERS)] else pytest.mark.thorough
            yield pytest.param(arch, overrides, init, marks=() if number == 0 else mark)


@pytest.mark.parametrize(("arch", "overrides", "init"), list(pairs()))
def test_the_library_loads_what_is_written(arch: str, overrides: dict[str, Any], init: str, tmp_path: Path) -> None:
    if init == "mimetic" and arch in WITHOUT_ATTENTION:
        with pytest.raises(paramgen.ParamgenError, match="it has no rule for any part of it"):
            paramgen.write(arch, tmp_path / "start", init=init, overrides=overrides, seed=2)
        return
    written = paramgen.write(arch, tmp_path / "start", init=init, overrides=overrides, seed=2)
    assert written.checked is not None and written.checked.loaded_by is not None
    assert sum(written.prediction.by_rule.values()) == written.prediction.architecture.manifest.elements


@pytest.mark.parametrize("init", INITIALIZERS)
def test_a_first_training_step_is_finite_and_lowers_the_loss(init: str) -> None:
    prediction = prepare("timm:test_vit", init=init, overrides={"num_classes": 10}, seed=2)
    module = materialize(prediction.architecture, prediction.state_dict()).requires_grad_(True)
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(8, 3, 160, 160, generator=generator), torch.randint(10, (8,), generator=generator)
    losses = []
    optimizer = torch.optim.AdamW(module.parameters(), 1e-3)
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(module(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] < 10 and losses[-1] < losses[0]
