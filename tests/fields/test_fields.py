"""A picture becomes a field of as many bytes as are said, and that the same picture again; hostile files do not."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import paramgen
from paramgen.errors import OptionError
from paramgen.fields import Design
from paramgen.fields.projection import BLOCK, Projection, projected
from paramgen.fields.storage import MAX_FIELD_BYTES, read_field

SMALL: Final[dict[str, Any]] = {"latent": 300, "width": 12, "layers": 2, "steps": 100}
DESIGN: Final[dict[str, Any]] = {"latent": 64, "layers": 2, "frequencies": 2, "seed": 3}
PICTURE: Final[dict[str, Any]] = {"height": 4, "breadth": 4, "channels": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture, 20 wide and 12 high, and its field."""
    folder = tmp_path_factory.mktemp("fields")
    across, down = np.meshgrid(np.linspace(0, 255, 20), np.linspace(0, 255, 12))
    pixels = np.stack((across, down, np.where(across + down > 255, 230, 20)), 2).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    paramgen.fit_field(folder / "photo.png", folder / "photo.field", **SMALL)
    return folder


def pixels_of(file: Path) -> Any:
    with Image.open(file) as opened:
        return np.asarray(opened, dtype=np.float64)


def test_the_file_makes_the_picture_that_was_said(folder: Path, tmp_path: Path) -> None:
    fitted = paramgen.fit_field(folder / "photo.png", tmp_path / "again.field", **SMALL)
    assert (tmp_path / "again.field").read_bytes() == (folder / "photo.field").read_bytes()
    assert fitted.nbytes == (tmp_path / "again.field").stat().st_size < fitted.pixel_bytes + 400
    paramgen.render_field(tmp_path / "again.field", tmp_path / "a.png")
    wanted = pixels_of(folder / "photo.png")
    error = np.square(pixels_of(tmp_path / "a.png") - wanted).mean()
    assert fitted.psnr == pytest.approx(10 * math.log10(255**2 / error), abs=1e-9)
    assert fitted.psnr > 10 * math.log10(255**2 / wanted.var((0, 1)).mean()) + 10  # of one colour everywhere
    paramgen.fit_field(folder / "photo.png", tmp_path / "other.field", seed=1, **SMALL)
    assert (tmp_path / "other.field").read_bytes() != (tmp_path / "again.field").read_bytes()


def test_a_field_has_any_size(folder: Path, tmp_path: Path) -> None:
    assert paramgen.render_field(folder / "photo.field", tmp_path / "a.png", size="50").to_json()["height"] == 30
    assert paramgen.render_field(folder / "photo.field", tmp_path / "b.png", size="7x9").width == 7
    assert pixels_of(tmp_path / "b.png").shape == (9, 7, 3)


def test_a_grey_picture_has_one_colour(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4, 3), 90, dtype=np.uint8)).save(tmp_path / "grey.png")
    fitted = paramgen.fit_field(tmp_path / "grey.png", tmp_path / "f", **SMALL | {"steps": 1})
    assert fitted.pixel_bytes == 16
    paramgen.render_field(tmp_path / "f", tmp_path / "g.png")
    assert pixels_of(tmp_path / "g.png").shape == (4, 4)


def test_without_a_width_there_are_four_weights_for_each_entry() -> None:
    design = Design.of(width=None, **DESIGN | {"latent": 2000}, **PICTURE)
    assert 8000 <= design.weights < 9000


def test_weights_begin_as_those_of_a_siren_whatever_block_they_are_in() -> None:
    design = Design(width=150, **DESIGN | {"latent": 5000}, **PICTURE)
    assert BLOCK < 150 * 150
    latent = torch.randn(5000, generator=torch.Generator().manual_seed(0))
    assert design.stds[1] == pytest.approx((2 / 150) ** 0.5 / 30)
    for weight, same, std in zip(projected(design, latent), Projection(design)(latent), design.stds, strict=True):
        assert torch.equal(weight, same)
        assert float(weight.std()) == pytest.approx(std, rel=0.15)


def test_the_commands_say_psnr_and_bytes(command: Any, folder: Path, tmp_path: Path) -> None:
    words = ("--latent", 20, "--width", 3, "--layers", 1, "--steps", 2)
    done = command("field", "fit", folder / "photo.png", *words, "--size", "8x6", "--out", "f", "--json")
    said = json.loads(done.out)
    assert said["bytes"] == (tmp_path / "f").stat().st_size and said["psnr"] > 0 and said["height"] == 6
    assert command("field", "render", "f", "--out", "f.png", "--quiet").status == 0


def test_what_cannot_be_is_refused_in_a_line_and_nothing_is_written(folder: Path, tmp_path: Path) -> None:
    for option, value in {"latent": 5, "width": 999, "layers": 0, "steps": 0, "size": "big", "seed": -1}.items():
        with pytest.raises(OptionError, match=f"Type: --{option} |Pass: {option}="):
            paramgen.fit_field(folder / "photo.png", tmp_path / "g", **{**SMALL, option: value})
    for picture, said in (("f.jpg", "Allowed for a picture: .png"), ("f.png", "exists")):
        (tmp_path / picture).touch()
        with pytest.raises(OptionError, match=said):
            paramgen.render_field(folder / "photo.field", tmp_path / picture)
    with pytest.raises(OptionError, match="0x3"):
        paramgen.render_field(folder / "photo.field", tmp_path / "g.png", size="0x3")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["f.jpg", "f.png"]


def about(**changes: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda header, tensors: header.update(changes)


HOSTILE: Final[dict[str, Callable[[dict[str, Any], dict[str, Any]], Any]]] = {
    "an endless latent vector": about(latent=10**12),
    "a wide network": about(width=10**6),
    "a picture without an end": about(height=10**9),
    "a number that is a text": about(layers="2"),
    "a truth for a number": about(channels=True),
    "two channels": about(channels=2),
    "a scale without a value": about(latent_scale=math.nan),
    "a scale that is whole": about(bias_scale=1),
    "a key that nobody knows": about(code="import os"),
    "a missing key": lambda header, tensors: header.pop("seed"),
    "another length": lambda header, tensors: tensors.update(latent=torch.zeros(7, dtype=torch.int8)),
    "other numbers": lambda header, tensors: tensors.update(latent=tensors["latent"].float()),
    "a third tensor": lambda header, tensors: tensors.update(more=torch.zeros(1)),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_field_is_refused_in_a_line(what: str, folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / "photo.field")
    with safe_open(folder / "photo.field", framework="pt") as opened:
        header = json.loads(opened.metadata()["field"])
    HOSTILE[what](header, tensors)
    save_file(tensors, tmp_path / "x.field", metadata={"field": json.dumps(header)})
    with pytest.raises(OptionError) as caught:
        read_field(tmp_path / "x.field")
    assert "\n" not in caught.value.message and len(caught.value.message) < 400


def test_what_is_no_field_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"\xff" * 40, (2**40).to_bytes(8, "little"), b"\0" * (MAX_FIELD_BYTES + 1)):
        (tmp_path / "x.field").write_bytes(content)
        with pytest.raises(OptionError, match="x.field"):
            read_field(tmp_path / "x.field")
    save_file({"latent": torch.zeros(1)}, tmp_path / "x.field")
    with pytest.raises(OptionError, match="is no field"):
        read_field(tmp_path / "x.field")
    with pytest.raises(OptionError, match="There is no file"):
        paramgen.render_field(tmp_path / "nothing", tmp_path / "x.png")
