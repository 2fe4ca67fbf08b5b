"""Beside a card's figures may lie what nobody meant to publish: it is not pushed."""

from pathlib import Path

import pytest

import paramgen
from paramgen.errors import CheckError
from paramgen.output.push import pushable

SMALL = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 4, "vocab_size": 10,
         "max_position_embeddings": 8}  # fmt: skip


def test_only_pictures_are_pushed_of_the_figures(tmp_path: Path) -> None:
    folder = tmp_path / "start"
    paramgen.write("transformers:bert", folder, overrides=SMALL, init="he")
    figures = folder / "figures"
    figures.mkdir()
    for name in ("weights.svg", "curve.PNG", "notes.txt", ".env", ".hidden.png", "token"):
        (figures / name).write_text("x")
    pushed = {name for name in pushable(folder, checked=True).files if name.startswith("figures/")}
    assert pushed == {"figures/weights.svg", "figures/curve.PNG"}
    (figures / "linked").symlink_to("/etc/passwd")
    with pytest.raises(CheckError, match="a link or no file"):
        pushable(folder, checked=True)
