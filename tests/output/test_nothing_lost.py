"""What --overwrite would lose is told, also in a picture, in a closed folder or behind the last tensor."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import paramgen
from paramgen.output.card import write_card
from paramgen.storage.folder import MARK
from paramgen.storage.unaltered import altered

SMALL = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 4, "vocab_size": 10,
         "max_position_embeddings": 8}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("it") / "start"
    paramgen.write("transformers:bert", target, overrides=SMALL, init="he")
    write_card(target, pictures=True)
    return target


def test_a_folder_with_pictures_is_as_it_was_written(folder: Path) -> None:
    assert (folder / "figures" / "graph.svg").is_file() and altered(folder, MARK) == []


@pytest.mark.parametrize("name", ["graph.svg", "spectra.png", "distributions.png"])
def test_a_picture_of_somebody_elses_in_the_place_of_ours(folder: Path, name: str) -> None:
    path = folder / "figures" / name
    ours = path.read_bytes()
    path.write_bytes(ours[:-1] + b" ")
    try:
        assert altered(folder, MARK) == [f"figures/{name}"]
    finally:
        path.write_bytes(ours)
    assert altered(folder, MARK) == []


def test_a_folder_that_cannot_be_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / MARK).write_text("{}")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PermissionError):
        altered(tmp_path, MARK)


def test_what_stands_behind_the_last_tensor(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.zeros(2)}, path)
    record = {"files": {path.name: 108}, "tensors": {"w": {"sha256": "0"}}}
    path.write_bytes((2).to_bytes(8, "little") + b"{}" + b"precious".ljust(98))
    (tmp_path / MARK).write_text(json.dumps(record))
    assert altered(tmp_path, MARK) == [path.name]


def test_a_text_that_somebody_put_into_the_head_of_the_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'{"format":"pt"}', b'{"mine":"here"}', 1))
    assert len(path.read_bytes()) == len(content) and altered(folder, MARK) == [path.name]
