"""Folders appear whole or not at all, and the report's figures are right."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import paramgen


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(50, 50) for _ in range(6)))

    def forward(self, states: Tensor) -> Tensor:
        return self.layers(states)


@pytest.mark.parametrize(
    ("fault", "error"),
    [("raise", ZeroDivisionError), ("missing", paramgen.ParamgenError), ("twice", paramgen.ParamgenError),
     ("shape", paramgen.ParamgenError), ("nan", paramgen.ParamgenError)],
)  # fmt: skip
def test_an_initializer_at_fault_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, error: type[Exception]
) -> None:
    from paramgen.initializers.library import Library

    right = Library.tensors

    def wrong(self: Library, *arguments: object, **options: object) -> Iterator[tuple[str, Tensor]]:
        for number, (name, tensor) in enumerate(right(self, *arguments, **options)):  # type: ignore[arg-type]
            if number == 4 and fault == "raise":
                raise ZeroDivisionError
            if number == 4 and fault == "missing":
                continue
            if number == 4 and fault == "twice":
                yield name, tensor
            if number == 4 and fault == "shape":
                tensor = tensor[:-1]
            if number == 4 and fault == "nan":
                tensor = tensor * torch.nan
            yield name, tensor

    monkeypatch.setattr(Library, "tensors", wrong)
    with pytest.raises(error) as caught:
        paramgen.write(Broken(), tmp_path / "deep" / "out", init="library")
    assert os.listdir(tmp_path) == []
    assert ".partial" not in str(caught.value)


def test_an_interrupted_caller_leaves_nothing(tmp_path: Path) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if done > 5000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        paramgen.write(Broken(), tmp_path / "out", init="library", progress=stop)
    assert os.listdir(tmp_path) == []


def test_overwriting_keeps_the_old_folder_until_the_new_one_is_whole(tmp_path: Path) -> None:
    paramgen.write(Broken(), tmp_path / "out", init="library", seed=1)
    before = (tmp_path / "out" / "model.safetensors").read_bytes()

    def stop(stage: str, done: int, total: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        paramgen.write(Broken(), tmp_path / "out", init="library", seed=2, overwrite=True, progress=stop)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before
    written = paramgen.write(Broken(), tmp_path / "out", init="library", seed=2, overwrite=True, verify=False)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() != before and written.checked is None
    assert os.listdir(tmp_path) == ["out"]


def test_tied_names_are_written_as_the_library_saves_them(tmp_path: Path, own: Path) -> None:
    own.write_text("from torch import nn\ndef tied():\n    one, two = nn.Linear(4, 4), nn.Linear(4, 4)\n"
                   "    two.weight = one.weight\n    return nn.Sequential(one, two)\n")  # fmt: skip
    written = paramgen.write(f"{own}:tied", tmp_path / "out", init="library")
    report = json.loads((tmp_path / "out" / "paramgen.json").read_text())
    assert set(report["tensors"]) == {"0.weight", "0.bias", "1.bias"} and report["tied"] == {"1.weight": "0.weight"}
    assert report["elements"] == report["parameters"] == 24
    assert written.files == {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    loaded = paramgen.load(tmp_path / "out")
    assert loaded[1].weight is loaded[0].weight  # type: ignore[index]


def test_what_was_written_says_how_it_was_checked(tmp_path: Path) -> None:
    stages: list[str] = []
    out = tmp_path / "out"
    written = paramgen.write("timm:test_vit", out, init="he", progress=lambda stage, *_: stages.append(stage))
    assert list(dict.fromkeys(stages))[-1] == "check"
    assert written.checked is not None
    assert written.checked.folder == out
    assert "loaded by timm" in repr(written)
    record = json.loads((out / "paramgen.json").read_text(encoding="utf-8"))
    assert record["requested"]["companion_files"] == []
    unchecked = paramgen.write("timm:test_vit", tmp_path / "other", init="he", verify=False, progress=False)
    assert unchecked.checked is None
    assert "not checked" in repr(unchecked)
