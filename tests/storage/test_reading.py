"""Weights files of anybody: what safetensors' own reader lets through, and what a module cannot take."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import paramgen
from paramgen.errors import CheckError
from paramgen.storage.reading import stored

ENTRY = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def written(folder: Path, header: Any, data: bytes = b"\0" * 24) -> Path:
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return folder


@pytest.mark.parametrize("said", [{"data_offsets": "zzz"}, {"data_offsets": ""}, {"dtype": "F32", "shape": "x"}])
def test_remarks_that_are_called_like_fields_of_a_tensor_are_passed_over(tmp_path: Path, said: dict[str, str]) -> None:
    assert [entry.name for entry in stored(written(tmp_path, {"__metadata__": said, "weight": ENTRY}))] == ["weight"]


def test_tensors_come_in_the_order_of_their_places(tmp_path: Path) -> None:
    header = {name: {"dtype": "U8", "shape": [2], "data_offsets": [at, at + 2]} for name, at in (("b", 2), ("a", 0))}
    assert [entry.name for entry in stored(written(tmp_path, header, b"\0" * 4))] == ["a", "b"]


@pytest.mark.parametrize("header", [[], None, "x", {"a": 5}, {"a": {**ENTRY, "data_offsets": "05"}}])
def test_other_headers_are_refused_in_a_line(tmp_path: Path, header: Any) -> None:
    with pytest.raises(CheckError) as caught:
        stored(written(tmp_path, header))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("dtype", "width"), [("BOOL", 1), ("I64", 8), ("U8", 1)])
def test_a_module_that_is_trained_takes_no_whole_numbers(tmp_path: Path, dtype: str, width: int) -> None:
    header = {
        "weight": {"dtype": dtype, "shape": [2, 3], "data_offsets": [0, 6 * width]},
        "bias": {"dtype": dtype, "shape": [2], "data_offsets": [6 * width, 8 * width]},
    }
    module = nn.Linear(3, 2)
    before = module.weight.detach().clone()
    with pytest.raises(CheckError, match="cannot be trained"):
        paramgen.load(written(tmp_path, header, b"\1" * 8 * width), module)
    assert torch.equal(module.weight, before)


def test_what_cannot_be_read_is_not_said_to_be_absent(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    cases: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: weights.symlink_to("blob"), "leads nowhere"),
        (weights.mkdir, "is no regular file"),
        (lambda: os.mkfifo(weights), "is no regular file"),
        (lambda: weights.write_bytes(b"\xff" * 7 + b"\x7f{}"), "header too large"),
        (lambda: weights.write_bytes(b""), "header too small"),
    )
    for make, said in cases:
        make()
        with pytest.raises(CheckError, match=said) as refused:
            stored(tmp_path)
        assert "model.safetensors" in str(refused.value)
        weights.rmdir() if weights.is_dir() else weights.unlink()
