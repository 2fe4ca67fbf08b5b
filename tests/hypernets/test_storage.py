import json
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import paramgen
from paramgen.errors import HypernetError
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.hypernet import Hypernet
from paramgen.hypernets.loading import load

VISION = Path(str(paramgen.__file__)).parent / "pretrained" / "vision"


@pytest.fixture
def folder(residual_config: HypernetConfig, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    Hypernet(residual_config).save_pretrained(tmp_path / "hypernet")
    return tmp_path / "hypernet"


def change(folder: Path, **tensors: torch.Tensor | None) -> None:
    state = load_file(folder / "model.safetensors") | tensors
    save_file({name: tensor for name, tensor in state.items() if tensor is not None}, folder / "model.safetensors")


def test_saved_and_read_is_the_same(folder: Path, residual_config: HypernetConfig) -> None:
    torch.manual_seed(0)
    expected = Hypernet(residual_config).state_dict()
    hypernet = Hypernet.from_pretrained(folder)
    assert hypernet.config == residual_config and not hypernet.training
    assert hypernet.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in hypernet.state_dict().items())
    assert all(parameter.requires_grad for parameter in hypernet.parameters())


def test_reading_draws_no_random_numbers(folder: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    Hypernet.from_pretrained(folder)
    assert torch.equal(torch.rand(1), expected)


def test_the_config_is_readable_json_and_the_folder_has_a_card(folder: Path, residual_config: HypernetConfig) -> None:
    assert json.loads((folder / "config.json").read_text()) == residual_config.to_json()
    assert "hypernet of paramgen" in (folder / "README.md").read_text()


def test_bfloat16_files_are_read_as_float32(folder: Path, residual_config: HypernetConfig) -> None:
    state = load_file(folder / "model.safetensors")
    save_file({name: tensor.bfloat16() for name, tensor in state.items()}, folder / "model.safetensors")
    hypernet: Any = Hypernet.from_pretrained(folder)
    assert {parameter.dtype for parameter in hypernet.parameters()} == {torch.float32}
    torch.testing.assert_close(
        hypernet.encoder.edges.code.weight, state["encoder.edges.code.weight"], rtol=1e-2, atol=0
    )


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="the system does not tell what is mapped")
@pytest.mark.parametrize("stored", ["a hypernet in float32", "a supernet in bfloat16"])
def test_processes_share_the_pages_of_the_file(stored: str, folder: Path) -> None:
    read = folder if stored == "a hypernet in float32" else VISION
    predictor = load(str(read))
    kept = str((read / "model.safetensors").resolve())
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    ranges = [line.partition(" ")[0].split("-") for line in lines if line.endswith(kept)]
    for parameter in predictor.parameters():
        assert any(int(first, 16) <= parameter.data_ptr() < int(last, 16) for first, last in ranges)


def test_the_hash_is_that_of_the_file(folder: Path, residual_config: HypernetConfig) -> None:
    expected = sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert Hypernet.from_pretrained(folder).sha256 == expected
    assert Hypernet(residual_config).sha256 is None


def test_copies_are_independent(folder: Path) -> None:
    hypernet = Hypernet.from_pretrained(folder)
    copy = deepcopy(hypernet)
    assert copy.residual is not None and hypernet.residual is not None
    copy.residual.head.weight.data.fill_(1)
    assert hypernet.residual.head.weight.abs().sum() == 0
    assert copy.config == hypernet.config


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"residual.head.bias": torch.tensor([0.0, float("nan")])}, "residual.head.bias holds values that are not"),
        ({"residual.head.bias": torch.tensor([0.0, float("inf")])}, "residual.head.bias holds values that are not"),
        ({"residual.head.bias": torch.zeros(3)}, r"is F32 of shape \(3,\); config.json asks for \(2,\)"),
        ({"residual.head.bias": torch.zeros(2, dtype=torch.int64)}, "is I64 of shape"),
        ({"residual.head.bias": None}, "lacks 1 tensors"),
        ({"surplus": torch.zeros(1)}, "does not ask for, first 'surplus'"),
    ],
)
def test_refuses_weights_that_do_not_fit(folder: Path, tensors: dict[str, torch.Tensor | None], message: str) -> None:
    change(folder, **tensors)
    with pytest.raises(HypernetError, match=message):
        Hypernet.from_pretrained(folder)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "missing"])
def test_refuses_damaged_weights(folder: Path, damage: str) -> None:
    file = folder / "model.safetensors"
    content = {"truncated": file.read_bytes()[:-5], "garbage": b"\xff" * 100, "empty": b""}
    file.unlink()
    if damage != "missing":
        file.write_bytes(content[damage])
    with pytest.raises(HypernetError, match=r"model\.safetensors") as caught:
        Hypernet.from_pretrained(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        (" " * 1_000_001, "allowed are 1,000,000"),
        ("3", "no JSON object"),
    ],
)
def test_refuses_damaged_configs(folder: Path, text: str, message: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(HypernetError, match=message):
        Hypernet.from_pretrained(folder)


def test_a_config_that_contradicts_the_weights_is_refused(folder: Path) -> None:
    data = json.loads((folder / "config.json").read_text())
    data["encoder"]["layers"] = 3
    (folder / "config.json").write_text(json.dumps(data))
    with pytest.raises(HypernetError, match=r"lacks .* tensors that config.json asks for, first 'encoder.layers.2"):
        Hypernet.from_pretrained(folder)


@pytest.mark.parametrize("name", ["no/such", "not a name at all!", "/no/such/folder"])
def test_refuses_names_that_are_neither_folder_nor_repository(name: str, tmp_path: Path) -> None:
    with pytest.raises(HypernetError, match="neither a folder nor") as caught:
        Hypernet.from_pretrained(name, local_files_only=True, cache_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_of_other_weights_is_named_as_no_hypernet(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(HypernetError, match=rf"'{tmp_path}' is no hypernet: .* Pass: init='hypernet'"):
        load(str(tmp_path))
