"""`predict --quantize`: a folder in few bits, which `restore` makes the ordinary one of; it may be anybody's."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import paramgen
from paramgen.errors import CheckError, OptionError

ARCH = "transformers:gpt2?n_embd=32&n_layer=2&n_head=2&n_positions=16&vocab_size=64"


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tied language model in several files, rounded to nf4."""
    folder = tmp_path_factory.mktemp("quantized") / "few"
    paramgen.write(ARCH, folder, init="he", quantize="nf4", max_shard="60KB", progress=False)
    return folder


def test_it_is_small_and_becomes_the_ordinary_folder_again(few: Path, tmp_path: Path) -> None:
    done = paramgen.restore(few, tmp_path / "w")
    size = sum(file.stat().st_size for file in (tmp_path / "w").glob("*.safetensors"))
    assert size > 5 * (few / "quantized.safetensors").stat().st_size  # 7.1 but for biases and the header
    rounded = paramgen.predict(ARCH, init="he", quantize="nf4", progress=False).state_dict()
    loaded = {
        name: tensor for file in (tmp_path / "w").glob("*.safetensors") for name, tensor in load_file(file).items()
    }
    assert len(list((tmp_path / "w").glob("model-*.safetensors"))) > 1
    assert loaded and all(torch.equal(rounded[name], tensor) for name, tensor in loaded.items())
    assert paramgen.check(tmp_path / "w").tensors == paramgen.check(few).tensors == len(loaded)
    assert dict(done.to_json()["files"]) == {file.name: file.stat().st_size for file in (tmp_path / "w").iterdir()}
    planned = paramgen.restorable(few).files
    assert {**planned, "paramgen.json": done.files["paramgen.json"]} == done.files
    again = paramgen.load(few).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in loaded.items())


def test_record_and_card_say_how_and_how_much_is_lost(few: Path) -> None:
    plain = paramgen.predict(ARCH, init="he", progress=False).state_dict()
    rounded = paramgen.predict(ARCH, init="he", quantize="nf4", progress=False).state_dict()
    names = [name for name, tensor in plain.items() if tensor.dim() == 2 and name != "lm_head.weight"]
    lost = sum(float((plain[name] - rounded[name]).double().square().sum()) for name in names)
    whole = sum(float(plain[name].double().square().sum()) for name in names)
    said = json.loads((few / "paramgen.json").read_text(encoding="utf-8"))["quantization"]
    assert (said["kind"], said["bits"], said["block"]) == ("nf4", 4, 64)
    assert said["relative_error"] == pytest.approx((lost / whole) ** 0.5, rel=1e-3)
    assert all(torch.equal(plain[name], rounded[name]) for name in plain if plain[name].dim() == 1)
    card = (few / "README.md").read_text(encoding="utf-8")
    assert (
        f"rounded to `nf4` with a scale for each 64 weights; the root mean square error is {said['relative_error']:.1%}"
        in card
    )
    assert "--quantize 'nf4?block=64'" in card and "paramgen restore" in card


def test_the_same_bytes_come_again_and_replace_what_is_as_it_was(few: Path, tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in few.iterdir()}
    shutil.copytree(few, tmp_path / "few")
    paramgen.write(
        ARCH,
        tmp_path / "few",
        init="he",
        quantize="nf4",
        max_shard="60KB",
        overwrite=True,
        verify=False,
        progress=False,
    )
    assert {file.name: file.read_bytes() for file in (tmp_path / "few").iterdir()} == before
    (tmp_path / "few" / "quantized.safetensors").write_bytes(b"trained")
    with pytest.raises(paramgen.ParamgenError, match="quantized.safetensors"):
        paramgen.write(ARCH, tmp_path / "few", init="he", overwrite=True, verify=False, progress=False)


def test_masks_stay_beside_half_precision(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    spec: dict[str, Any] = {"init": "he", "example_input": torch.zeros(2, 16), "dtype": "bfloat16", "progress": False}
    spec |= {"then": ["prune:magnitude?keep=0.2&scope=layer&rescale=none"]}
    paramgen.write(module, tmp_path / "few", quantize="int8?block=16", **spec)
    paramgen.restore(tmp_path / "few", tmp_path / "w")
    weights = load_file(tmp_path / "w" / "model.safetensors")
    assert weights["0.weight"].dtype == torch.bfloat16 and int((weights["0.weight"] != 0).sum()) == round(0.2 * 256)
    assert (tmp_path / "w" / "masks.safetensors").read_bytes() == (tmp_path / "few" / "masks.safetensors").read_bytes()


def test_what_cannot_be_rounded_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    norm = nn.LayerNorm(4)
    with pytest.raises(OptionError, match="no matrix, kernel or table to round"):
        paramgen.write(
            norm, tmp_path / "w", init="library", quantize="nf4", example_input=torch.zeros(1, 4), progress=False
        )
    with pytest.raises(OptionError, match="Unknown quantize='nf2'"):
        paramgen.plan(ARCH, quantize="nf2")
    with pytest.raises(OptionError, match="hypernet is of recipes"):
        paramgen.restore(tmp_path, tmp_path / "w", hypernet="there")
    assert not (tmp_path / "w").exists()


def test_the_command_writes_restores_and_says_what_it_would(command: Any, tmp_path: Path) -> None:
    planned = command("predict", "--arch", "timm:test_vit", "--init", "he", "--quantize", "int4", "--dry-run", "--json")
    made = command("predict", "--arch", "timm:test_vit", "--init", "he", "--quantize", "int4", "--out", "few")
    assert made.status == 0 and "paramgen restore few --out FOLDER" in made.out, made.err
    size = (tmp_path / "few" / "quantized.safetensors").stat().st_size
    assert json.loads(planned.out)["files"]["quantized.safetensors"] == size
    said = json.loads(command("restore", "few", "--dry-run", "--json").out)
    assert said["quantize"] == "int4?block=64" and not (tmp_path / "few-restored").exists()
    done = command("restore", "few")
    assert done.status == 0 and "few-restored" in done.out, done.err
    assert said["files"]["model.safetensors"] == (tmp_path / "few-restored" / "model.safetensors").stat().st_size


def changed(**entries: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        said = json.loads((folder / "quantized.json").read_text())
        (folder / "quantized.json").write_text(json.dumps({**said, **entries}))

    return change


def other_tensor(**entry: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        said = json.loads((folder / "quantized.json").read_text())
        found = next(each for each in said["files"].values() if "transformer.ln_f.bias" in each)
        found["transformer.ln_f.bias"] |= entry
        (folder / "quantized.json").write_text(json.dumps(said))

    return change


def written(name: str, content: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return change


def other_values(folder: Path) -> None:
    found = load_file(folder / "quantized.safetensors")
    name = next(name for name in found if name.endswith(":codes"))
    found[name] = found[name] ^ 1
    save_file(found, folder / "quantized.safetensors", metadata={"format": "pt"})


def linked(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/etc/passwd")


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "another version": (changed(paramgen_quantized=2), "not of version 1"),
    "another key": (changed(code="import os"), "not of version 1"),
    "another kind": (changed(quantize="nf2"), "Unknown quantize='nf2'"),
    "another block": (changed(quantize="nf4?block=32"), "is not what quantized.json says"),
    "a file elsewhere": (changed(files={"../model.safetensors": {}}), "names the file"),
    "a file with another ending": (changed(files={"model.py": {}}), "names the file"),
    "no files": (changed(files=[]), "lists no files"),
    "no tensors": (changed(files={}), "is not what quantized.json says"),
    "another shape": (other_tensor(shape=[10**15]), "is not what quantized.json says"),
    "a shape that is none": (other_tensor(shape=[-1]), "does not say what"),
    "many axes": (other_tensor(shape=[1] * 40), "does not say what"),
    "another dtype": (other_tensor(dtype="X"), "does not say what"),
    "packed or not": (other_tensor(packed=1), "does not say what"),
    "other values": (other_values, "has changed since it was written"),
    "a link": (linked, "no regular file"),
    "no weights": (lambda folder: (folder / "quantized.safetensors").unlink(), "is not what quantized.json says"),
    "cut off": (
        written("quantized.safetensors", b"\xff" * 64), "not a whole safetensors file"),
    "no JSON": (written("quantized.json", b"{" * 9), "is no JSON"),
    "an ordinary folder": (lambda folder: (folder / "quantized.json").unlink(), "its weights are not in few bits"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_is_one_line_and_leaves_nothing(name: str, few: Path, tmp_path: Path) -> None:
    change, said = HOSTILE[name]
    shutil.copytree(few, tmp_path / "few")
    change(tmp_path / "few")
    with pytest.raises((CheckError, OptionError), match=said) as caught:
        paramgen.restore(tmp_path / "few", tmp_path / "w")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert [path.name for path in tmp_path.iterdir()] == ["few"]
