import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paramgen.errors import OptionError
from training.data.images import load_images


def picture(colour: int, side: int = 32) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), colour, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def folder(root: Path) -> Path:
    for split in ("train", "test"):
        for number, name in enumerate(("bee", "ant")):
            place = root / split / name / "images"
            place.mkdir(parents=True)
            for index in range(3):
                (place / f"{index}.png").write_bytes(picture(100 * number + index))
            (place / "notes.txt").write_text("no image")
    return root


def packed(root: Path, target: Path, extra: dict[str, bytes] | None = None) -> Path:
    with tarfile.open(target, "w:xz") as archive:
        archive.add(root / "train", "./train")
        archive.add(root / "test", "test")
        for name, data in (extra or {}).items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return target


def test_folder_and_tar_give_the_same_images(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    from_folder = load_images(root, "train", 16, tmp_path / "cache")
    from_tar = load_images(packed(root, tmp_path / "set.tar.xz"), "train", 16, tmp_path / "cache")
    assert from_folder.classes == from_tar.classes == ("ant", "bee")
    assert from_folder.pixels.shape == (6, 3, 16, 16)
    for label in (0, 1):
        ours, theirs = (images.pixels[images.labels == label] for images in (from_folder, from_tar))
        assert torch.equal(ours.flatten(1).sort(0).values, theirs.flatten(1).sort(0).values)
    assert set(from_folder.pixels[from_folder.labels == 0].unique().tolist()) == {100, 101, 102}


def test_the_second_reading_comes_from_the_cache(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    first = load_images(root, "test", 16, tmp_path / "cache")
    description = next((tmp_path / "cache").glob("*.json"))
    description.write_text(json.dumps(json.loads(description.read_text()) | {"classes": ["from", "cache"]}))
    assert load_images(root, "test", 16, tmp_path / "cache").classes == ("from", "cache")
    assert first.classes == ("ant", "bee")


def test_members_that_leave_the_archive_are_not_read_and_nothing_is_extracted(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    hostile = {"train/../../evil/x.png": picture(9), "../train/evil/x.png": picture(9), "/train/evil/x.png": picture(9)}
    archive = packed(root, tmp_path / "set.tar.xz", hostile)
    before = sorted(tmp_path.rglob("*"))
    images = load_images(archive, "train", 16, tmp_path / "cache")
    assert len(images) == 6
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before and "cache" not in path.parts] == []


def test_errors_say_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="does not exist"):
        load_images(tmp_path / "nowhere", "train", 16, tmp_path / "cache")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionError, match="no train/<class>"):
        load_images(tmp_path / "empty", "train", 16, tmp_path / "cache")


def test_draws_repeat_with_the_generator_and_keep_labels_with_images(tmp_path: Path) -> None:
    images = load_images(folder(tmp_path / "set"), "train", 16, tmp_path / "cache")
    first, labels = images.draw(32, torch.Generator().manual_seed(3))
    again, same = images.draw(32, torch.Generator().manual_seed(3))
    assert torch.equal(first, again) and torch.equal(labels, same)
    # Flat pictures survive flips and shifts: bees are dark here, ants bright.
    assert bool(((first.mean((1, 2, 3)) > -1.5) == (labels == 0)).all())
    assert len(list(images.batches(4))) == 1
