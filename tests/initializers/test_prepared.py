"""The weights of a prepared folder: taken for the same architecture, whatever its output; anything else is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import paramgen
from paramgen.comparison import Pixels

RESNET: dict[str, Any] = {"example_input": "2x3x8x8"}


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "warm"
    paramgen.prepare("timm:test_resnet", folder, how="warmup:shapes", steps=2, batch=8, **RESNET)
    return folder


def test_what_was_trained_is_taken_and_the_rest_is_drawn(warm: Path) -> None:
    stored = load_file(warm / "model.safetensors")
    found = [
        paramgen.predict("timm:test_resnet", init=f"prepared:{warm}", seed=seed, overrides={"num_classes": 5}, **RESNET)
        for seed in (1, 2)
    ]
    assert found[0].tensors_by_rule.keys() == {"prepared", "library"}
    one, other = (each.state_dict() for each in found)
    assert torch.equal(one["conv1.0.weight"], stored["conv1.0.weight"])
    assert one["fc.weight"].shape == (5, 96) and not torch.equal(one["fc.weight"], other["fc.weight"])
    assert {name for name in one if not torch.equal(one[name], other[name])} == {"fc.weight", "fc.bias"}
    assert "was prepared by warmup:shapes in 2 steps" in found[0].remarks[0]


def test_compare_counts_the_seconds_of_the_preparation(warm: Path, tmp_path: Path) -> None:
    file = tmp_path / "slow"
    file.mkdir()
    for name in ("model.safetensors", "config.json"):
        (file / name).write_bytes((warm / name).read_bytes())
    record = json.loads((warm / "paramgen.json").read_text())
    record["initializer"]["preparation"]["seconds"] = 1234.5
    (file / "paramgen.json").write_text(json.dumps(record))
    labels = torch.arange(16) % 2
    pixels = Pixels(pixels=torch.randint(0, 255, (16, 3, 8, 8)).to(torch.uint8), labels=labels)
    inits = ["library", f"prepared:{file}", f"prepared:{file}|scale:0.5"]
    found = paramgen.compare(
        "timm:test_resnet", (pixels, pixels), init=inits, steps=1, seeds=1, lr=1e-3, batch=4, example_input="2x3x8x8"
    ).to_json()["architectures"][0]
    seconds = [each["init_seconds"]["mean"] for each in found["initializations"]]
    assert seconds[0] < 1000 < 1234.5 <= seconds[1] and seconds[2] >= 1234.5
    assert any("which took 1,234.5 s" in note and "count among" in note for note in found["notes"])


def changed(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        record["initializer"]["preparation"][key] = value

    return change


def lost(record: dict[str, Any]) -> None:
    del record["initializer"]["preparation"]


def listed(record: dict[str, Any]) -> None:
    record["tensors"] = ["conv1.0.weight"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lost, "was not prepared"),
        (changed("seconds", float("nan")), "does not say how"),
        (changed("seconds", 1e400), "does not say how"),
        (changed("steps", "many"), "does not say how"),
        (changed("how", 5), "does not say how"),
        (listed, "lists no tensors"),
    ],
)
def test_a_hostile_record_is_refused(warm: Path, tmp_path: Path, change: Callable[[Any], None], said: str) -> None:
    for name in ("model.safetensors", "config.json"):
        (tmp_path / name).write_bytes((warm / name).read_bytes())
    record = json.loads((warm / "paramgen.json").read_text())
    change(record)
    (tmp_path / "paramgen.json").write_text(json.dumps(record))
    with pytest.raises(paramgen.ParamgenError, match=said) as caught:
        paramgen.predict("timm:test_resnet", init=f"prepared:{tmp_path}", **RESNET).state_dict()
    assert "\n" not in str(caught.value)


def test_values_that_are_not_finite_are_refused(warm: Path, tmp_path: Path) -> None:
    for name in ("paramgen.json", "config.json"):
        (tmp_path / name).write_bytes((warm / name).read_bytes())
    state = load_file(warm / "model.safetensors")
    state["conv1.0.weight"][0, 0, 0, 0] = float("inf")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(paramgen.ParamgenError, match="not finite"):
        paramgen.predict("timm:test_resnet", init=f"prepared:{tmp_path}", **RESNET).state_dict()


@pytest.mark.parametrize(
    ("arch", "said"),
    [("timm:test_efficientnet", "Type: --arch timm:test_resnet"), ("timm:test_resnet?in_chans=1", "of")],
)
def test_another_architecture_is_refused(warm: Path, arch: str, said: str) -> None:
    with pytest.raises(paramgen.ParamgenError, match="prepared for another network") as caught:
        paramgen.write(arch, warm.parent / "out", init=f"prepared:{warm}")
    assert said in caught.value.message
    assert not (warm.parent / "out").exists()


def test_a_folder_that_is_no_prepared_one_is_refused(tmp_path: Path) -> None:
    paramgen.write("timm:test_resnet", tmp_path / "he", init="he", **RESNET)
    with pytest.raises(paramgen.ParamgenError, match="was not prepared"):
        paramgen.predict("timm:test_resnet", init=f"prepared:{tmp_path / 'he'}", **RESNET).state_dict()
    with pytest.raises(paramgen.ParamgenError, match="no folder or file"):
        paramgen.predict("timm:test_resnet", init="prepared:nowhere", **RESNET)
