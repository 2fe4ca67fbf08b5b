"""What is taken from a larger model, element by element."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import paramgen
from paramgen.language.selection import evenly
from paramgen.prediction import prepare

SMALL = {"img_size": 32, "patch_size": 16, "embed_dim": 32, "num_heads": 2, "depth": 3}
LARGE = {**SMALL, "embed_dim": 80, "num_heads": 4, "depth": 6}
VIT = "timm:vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    state = prepare(VIT, init="library", overrides=LARGE, seed=9).state_dict()
    folder = tmp_path_factory.mktemp("larger")
    save_file(state, folder / "model.safetensors")
    return folder, state


def test_elements_are_chosen_evenly_along_every_dimension() -> None:
    values = torch.arange(48.0).view(6, 8)
    assert torch.equal(evenly(values, (3, 2)), values[::2, ::4])
    assert evenly(values, (6, 3))[0].tolist() == [0, 4, 7]
    assert torch.equal(evenly(values, (6, 8)), values)


@pytest.mark.parametrize(("layers", "taken"), [("first", (0, 1, 2)), ("uniform", (0, 2, 5))])
def test_blocks_and_elements_are_exactly_those(
    layers: str, taken: tuple[int, ...], larger: tuple[Path, dict[str, Tensor]]
) -> None:
    folder, state = larger
    prediction = prepare(VIT, init=f"weight_selection:{folder}?layers={layers}", overrides=SMALL)
    mine = prediction.state_dict()
    for ours, theirs in enumerate(taken):
        for word in ("attn.qkv.weight", "attn.qkv.bias", "mlp.fc1.weight", "norm2.weight"):
            name = f"blocks.{ours}.{word}"
            assert torch.equal(mine[name], evenly(state[f"blocks.{theirs}.{word}"], tuple(mine[name].shape))), name
    assert torch.equal(mine["pos_embed"], evenly(state["pos_embed"], tuple(mine["pos_embed"].shape)))


def test_the_head_is_the_librarys_unless_asked_for(larger: tuple[Path, dict[str, Tensor]]) -> None:
    folder, state = larger
    prediction = prepare(VIT, init=f"weight_selection:{folder}", overrides=SMALL)
    rest = {name for name, rule in prediction.rules.items() if rule == "library"}
    assert rest == {"head.weight", "head.bias"}
    assert prediction.by_rule["weight_selection"] == sum(
        value.numel() for name, value in prediction.state_dict().items() if name not in rest
    )
    requested = prepare(VIT, init=f"weight_selection:{folder}?head=true", overrides=SMALL)
    assert requested.rules["head.weight"] == "weight_selection"
    assert torch.equal(requested.state_dict()["head.weight"], evenly(state["head.weight"], (1000, 32)))


def test_a_head_that_is_initialized_with_zeros_is_a_head(tmp_path: Path) -> None:
    """The mixers of timm begin with one."""
    paramgen.write("timm:mixer_s32_224", tmp_path / "same", init="library", verify=False)
    prediction = prepare("timm:mixer_s32_224", init=f"weight_selection:{tmp_path / 'same'}")
    assert {name for name, rule in prediction.rules.items() if rule == "library"} == {"head.weight", "head.bias"}


def test_what_is_not_larger_or_not_there_is_the_librarys(larger: tuple[Path, dict[str, Tensor]]) -> None:
    folder, _ = larger
    wider = prepare(VIT, init=f"weight_selection:{folder}", overrides={**SMALL, "mlp_ratio": 12, "depth": 7})
    assert wider.rules["blocks.0.mlp.fc1.weight"] == "library"  # 384 rows; the larger one has 320
    assert wider.rules["blocks.0.attn.proj.weight"] == "weight_selection"
    assert wider.rules["blocks.6.attn.proj.weight"] == "library"
    with pytest.raises(paramgen.ParamgenError, match="No tensor of .* has the name and rank"):
        dict(prepare("timm:test_resnet", init=f"weight_selection:{folder}"))


def test_origin_is_recorded(larger: tuple[Path, dict[str, Tensor]]) -> None:
    folder, _ = larger
    described = prepare(VIT, init=f"weight_selection:{folder}", overrides=SMALL).initializer.describe()
    assert described["larger_model"] == str(folder) and len(described["sha256"]) == 64


def test_a_folder_that_predict_wrote_is_a_larger_model(tmp_path: Path) -> None:
    paramgen.write(VIT, tmp_path / "large", init="library", overrides=LARGE)
    prediction = prepare(VIT, init=f"weight_selection:{tmp_path / 'large'}", overrides=SMALL)
    assert prediction.by_rule["weight_selection"] > prediction.by_rule["library"]


LLAMA = {"num_hidden_layers": 2, "vocab_size": 24, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 8}
LARGER: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 64, "n_layer": 4, "n_head": 8, "vocab_size": 24, "n_positions": 16},
    "transformers:llama": LLAMA | {"hidden_size": 64, "intermediate_size": 48},
}
SMALLER: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 24, "n_layer": 2, "n_head": 3, "vocab_size": 20, "n_positions": 12},
}


def _marked(arch: str, folder: Path) -> dict[str, Tensor]:
    """Write a language model whose rows of queries, keys and values say which head they are of."""
    prediction = prepare(arch, init="library", overrides=LARGER[arch])
    state = prediction.state_dict()
    head = torch.arange(64).div(8, rounding_mode="floor").float()
    for name, value in state.items():
        if name.endswith("c_attn.weight"):
            value.copy_(torch.cat([head, head + 10, head + 20]).expand_as(value))
        elif name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            value.copy_(head[: len(value)].view(-1, 1).expand_as(value))
    save_file(
        {name: state[name] for name, slot in prediction.architecture.manifest.items() if slot.tied_to is None},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps(dict(prediction.architecture.layout.config)))
    return state


def test_language_models_take_whole_heads_and_the_first_tokens(tmp_path: Path) -> None:
    larger = _marked("gpt2", tmp_path)
    mine = prepare("gpt2", init=f"weight_selection:{tmp_path}", overrides=SMALLER["gpt2"]).state_dict()
    heads = mine["transformer.h.1.attn.c_attn.weight"][0].view(9, 8)
    assert bool((heads == heads[:, :1]).all()) and heads[:, 0].tolist() == [0, 4, 7, 10, 14, 17, 20, 24, 27]
    wanted = evenly(larger["transformer.wte.weight"][:20], (20, 24))
    assert torch.equal(mine["transformer.wte.weight"], wanted)


def test_queries_keep_the_keys_and_values_that_they_share(tmp_path: Path) -> None:
    arch, shared = "transformers:llama", {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4}
    larger = _marked(arch, tmp_path)
    sizes = LARGER[arch] | {"hidden_size": 24, "intermediate_size": 16} | shared
    mine = prepare(arch, init=f"weight_selection:{tmp_path}?head=true", overrides=sizes).state_dict()
    layer = "model.layers.1.self_attn."
    queries, keys = (mine[f"{layer}{part}_proj.weight"][:, 0].view(-1, 4)[:, 0].tolist() for part in "qk")
    assert (queries, keys) == ([0, 1, 4, 5], [0, 2])  # two of each group, and the groups' own keys
    gate, up = (mine[f"model.layers.0.mlp.{part}_proj.weight"] for part in ("gate", "up"))
    assert torch.equal(gate, evenly(larger["model.layers.0.mlp.gate_proj.weight"], (16, 24)))
    assert torch.equal(up, evenly(larger["model.layers.0.mlp.up_proj.weight"], (16, 24)))


def test_a_published_gpt2_is_a_larger_model(tmp_path: Path) -> None:
    """Its repository's file has no prefix before the names of the layers."""
    _marked("gpt2", tmp_path)
    wanted = prepare("gpt2", init=f"weight_selection:{tmp_path}?layers=uniform", overrides=SMALLER["gpt2"])
    before = wanted.state_dict()
    state = load_file(tmp_path / "model.safetensors")
    save_file(
        {name.removeprefix("transformer."): value for name, value in state.items()}, tmp_path / "model.safetensors"
    )
    after = prepare("gpt2", init=f"weight_selection:{tmp_path}?layers=uniform", overrides=SMALLER["gpt2"])
    assert after.rules == wanted.rules and all(torch.equal(value, before[name]) for name, value in dict(after).items())
