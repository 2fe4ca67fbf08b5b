"""What is opened as an image, and what one becomes."""

import os
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from paramgen.errors import OptionError
from paramgen.images import batch, pictures, sets
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


def test_many_large_pictures_are_decoded_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads, and memory for two pictures: no third is decoded before one of these is done."""
    ready()
    size, fit, lock = 40, ImageOps.fit, Lock()
    alive, most = 0, 0

    def watched(*args: Any, **kwargs: Any) -> Any:
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        time.sleep(0.02)  # in which the other threads would begin
        with lock:
            alive -= 1
        return fit(*args, **kwargs)

    monkeypatch.setattr(ImageOps, "fit", watched)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    each = size * size * (pictures._PER_PIXEL + pictures._IN_THE_DECODER)
    monkeypatch.setattr(pictures, "_MEMORY", pictures._DecodingMemory(2 * each + each // 2))
    image = stored(Image.new("RGB", (size, size), (200, 30, 40)), "PNG")
    split = sets.Split(labels=[0] * 24, read=lambda indices: ((str(index), image) for index in indices))
    (pixels,) = sets.decode(split, range(24), [(3, 8, 8)], "it")
    assert most == 2 and len(pixels) == 24 and (pixels[:, 0] == 200).all()


def test_the_largest_picture_alone_fits_into_the_memory_for_decoding() -> None:
    """Or it would be waited for without an end."""
    assert pictures.MAX_PIXELS * (pictures._PER_PIXEL + pictures._IN_THE_DECODER) <= pictures.MAX_DECODED


def test_what_could_not_be_decoded_gives_its_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ready()
    whole = stored(Image.effect_noise((40, 40), 80), "PNG")
    monkeypatch.setattr(pictures, "_MEMORY", pictures._DecodingMemory(40 * 40 * 30))
    for _ in range(3):
        with pytest.raises(OptionError, match="no image that can be read"):
            fitted(whole[: len(whole) // 2], [(3, 8, 8)], "half.png")
    assert fitted(whole, [(3, 8, 8)], "whole.png")[0].shape == (3, 8, 8)


def test_pictures_that_a_library_has_decoded_are_held_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of datasets or torchvision weighs its pixels, not the few bytes of its file."""
    monkeypatch.setattr(sets, "_CHUNK_BYTES", 4 * 10 * 10 * 3)

    def pictures_of_a_library() -> Iterator[tuple[str, Any]]:
        yield from ((str(number), Image.new("RGB", (10, 10))) for number in range(10))

    assert [len(chunk) for chunk in sets._chunks(pictures_of_a_library())] == [4, 4, 2]
