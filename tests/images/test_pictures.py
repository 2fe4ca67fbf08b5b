"""What is opened as an image, and what one becomes."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paramgen.errors import OptionError
from paramgen.images import batch, pictures
from paramgen.images.batch import image_files, load_images
from paramgen.images.folders import folder_images
from paramgen.images.pictures import IMAGE_SUFFIXES, fitted, ready


def stored(picture: Image.Image, kind: str) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_named_formats_are_read(kind: str) -> None:
    ready()
    (pixels,) = fitted(stored(Image.new("RGB", (20, 12), (200, 30, 40)), kind), [(3, 6, 10)], "it")
    assert pixels.shape == (3, 6, 10) and np.abs(pixels[:, 3, 5].astype(int) - (200, 30, 40)).max() < 9


@pytest.mark.parametrize("kind", ["EPS", "PDF", "ICO", "PCX"])
def test_no_other_format_is_opened_whatever_the_file_is_called(kind: str) -> None:
    ready()
    with pytest.raises(OptionError, match="photo.png is no image that can be read"):
        fitted(stored(Image.new("RGB", (16, 16)), kind), [(3, 8, 8)], "photo.png")
    assert not IMAGE_SUFFIXES & {".eps", ".ps", ".pdf"}


def test_limits_come_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready()
    monkeypatch.setattr(pictures, "MAX_PIXELS", 100)
    with pytest.raises(OptionError, match="bomb.png has 11x10 pixels; allowed are 100"):
        fitted(stored(Image.new("RGB", (11, 10)), "PNG"), [(3, 8, 8)], "bomb.png")
    for name in ("bee", "ant"):
        (tmp_path / name).mkdir()
        for index in range(2):
            (tmp_path / name / f"{index}.png").write_bytes(stored(Image.new("RGB", (4, 4)), "PNG"))
    monkeypatch.setattr(pictures, "MAX_PICTURE_BYTES", 10)
    found = folder_images(tmp_path)
    with pytest.raises(OptionError, match="bytes; allowed are 1 to 10"):
        list(found.train.read([0]))
    with pytest.raises(OptionError, match="bytes; allowed are 1 to 10"):
        load_images(image_files(tmp_path), (2, 3, 4, 4), torch.Generator())
    monkeypatch.setattr(batch, "MAX_FILES", 3)
    with pytest.raises(OptionError, match="more than 3 images"):
        image_files(tmp_path)
    monkeypatch.setattr("paramgen.images.folders.MAX_FILES", 3)
    with pytest.raises(OptionError, match="more than 3 files"):
        folder_images(tmp_path)


def test_every_size_is_made_of_the_picture_itself() -> None:
    ready()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    small, whole = fitted(stored(Image.fromarray(pixels), "PNG"), [(3, 8, 8), (3, 16, 16)], "it", scaling="area")
    assert np.array_equal(whole, pixels.transpose(2, 0, 1))
    means = pixels.reshape(8, 2, 8, 2, 3).mean((1, 3)).transpose(2, 0, 1)
    assert np.abs(small - means).max() <= 1  # Pillow rounds twice


def test_a_turned_photograph_is_put_upright() -> None:
    ready()
    picture = Image.new("RGB", (8, 8))
    picture.paste((255, 255, 255), (0, 0, 8, 4))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    buffer = BytesIO()
    picture.save(buffer, "PNG", exif=exif)
    (pixels,) = fitted(buffer.getvalue(), [(1, 8, 8)], "it")
    assert pixels[0, 0].max() == 0 and pixels[0, 7].min() == 255


def test_images_are_found_below(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/1.png", "a.JPG", "notes.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"")
    assert [file.name for file in image_files(tmp_path)] == ["a.JPG", "1.png"]
