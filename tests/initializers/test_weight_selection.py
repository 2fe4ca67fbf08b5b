"""What is taken from a larger model, element by element."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import paramgen
from paramgen.initializers.weight_selection import evenly
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
    asked = prepare(VIT, init=f"weight_selection:{folder}?head=true", overrides=SMALL)
    assert asked.rules["head.weight"] == "weight_selection"
    assert torch.equal(asked.state_dict()["head.weight"], evenly(state["head.weight"], (1000, 32)))


def test_a_head_that_starts_from_zero_is_a_head(tmp_path: Path) -> None:
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
