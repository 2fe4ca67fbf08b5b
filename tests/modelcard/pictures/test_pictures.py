"""Pictures of weights: every layer in its place and of its kind, the same bytes again, whatever names there are."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from paramgen.modelcard.pictures.distributions import distributions
from paramgen.modelcard.pictures.layers import evenly, label, layers_of
from paramgen.modelcard.pictures.spectra import spectra
from paramgen.storage.reading import stored

pytest.importorskip("matplotlib")

NAMES = {
    "wte.weight": ("table", (20, 8)),
    "h.2.attn.c_attn.weight": ("attention", (8, 24)),
    "h.10.mlp.fc.weight": ("linear", (8, 32)),
    "patch_embed.proj.weight": ("convolution", (8, 3, 4, 4)),
    "blocks.0.q_proj.weight": ("attention", (8, 8)),
    "conv1d.weight": ("convolution", (8, 4, 3)),
    "time_embedding.linear_1.weight": ("linear", (8, 8)),
    "depthwise.weight": ("convolution", (8, 1, 3, 3)),
    "cls_token": ("vector", (1, 1, 8)),
    "bias": ("vector", (8,)),
    "evil.$x^{2$\n\x1b<b>&.weight": ("linear", (4, 4)),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(shape, generator=generator) for name, (_, shape) in NAMES.items()}
    tensors["constant.weight"] = torch.full((6, 6), 0.5)
    tensors["zero.weight"] = torch.zeros(6, 6, dtype=torch.bfloat16)
    tensors["infinite.weight"] = torch.full((6, 6), torch.inf)
    tensors["steps"] = torch.zeros(6, 6, dtype=torch.long)
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


def test_kinds_and_order(folder: Path) -> None:
    layers = layers_of(stored(folder), list(NAMES))
    found = {layer.stored.name: layer.kind for layer in layers}
    matrices = {name: kind for name, (kind, _) in NAMES.items() if kind != "vector"}
    assert list(found)[: len(matrices)] == list(matrices) and found.items() >= matrices.items()
    assert "steps" not in found and "bias" not in found and "cls_token" not in found
    natural = [layer.stored.name for layer in layers_of(stored(folder), []) if layer.stored.name.startswith("h.")]
    assert natural == ["h.2.attn.c_attn.weight", "h.10.mlp.fc.weight"]
    assert layers[1].block == "h.2" and layers[0].block == "wte"


def shades(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)), dtype=np.int16)


def test_both_pictures_are_the_same_again(folder: Path) -> None:
    layers = layers_of(stored(folder), list(NAMES))
    first = distributions(layers)
    assert first.startswith(b"\x89PNG") and first == distributions(layers)
    stretched = spectra(layers)
    assert stretched is not None and stretched.startswith(b"\x89PNG")
    again = spectra(layers)
    assert again is not None
    # A decomposition may differ in its last digits, and a line's soft edge by a shade then.
    assert np.abs(shades(stretched) - shades(again)).max() <= 2
    assert spectra([layer for layer in layers if layer.kind == "table"]) is None


def test_a_sample_comes_from_everywhere(tmp_path: Path) -> None:
    values = torch.arange(200_000, dtype=torch.float32).view(400, 500)
    save_file({"a": values, "b": values[:2].clone()}, tmp_path / "model.safetensors")
    whole = {entry.name: entry for entry in stored(tmp_path)}
    sample = whole["a"].sampled(1600)
    assert len(sample) == 1600 and float(sample[0]) == 0 and float(sample[-1]) == 199_999
    assert float(sample.mean()) == pytest.approx(100_000, rel=0.01) and len(sample.unique()) == 1600
    assert whole["b"].sampled(1600).equal(values[:2].reshape(-1))


def test_labels_have_letters_that_every_font_has() -> None:
    assert label("a.b.layers.3") == "layers.3" and label("näh\n") == "n?h?"
    assert len(label("x" * 50)) == 16


def test_few_of_many_layers_are_shown(folder: Path) -> None:
    layers = layers_of(stored(folder), list(NAMES))
    few = evenly(layers, 3)
    assert few[0] is layers[0] and few[-1] is layers[-1] and len(few) == 3
    assert evenly(layers, 99) == layers
