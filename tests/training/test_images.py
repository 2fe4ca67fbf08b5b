import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paramgen.errors import OptionError
from training.config import DatasetConfig
from training.data.datasets import dataset_paths, load_dataset
from training.data.images import load_images, load_set


def picture(colour: int, side: int = 32) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), colour, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def folder(root: Path) -> Path:
    for split in ("train", "test"):
        for number, name in enumerate(("bee", "ant")):
            target = root / split / name / "images"
            target.mkdir(parents=True)
            for index in range(3):
                (target / f"{index}.png").write_bytes(picture(100 * number + index))
            (target / "notes.txt").write_text("no image")
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
    description = next((tmp_path / "cache").glob("*-test-16.json"))
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


def test_tiny_imagenet_s_layout_is_read_from_inside_one_outer_folder(tmp_path: Path) -> None:
    root = tmp_path / "set" / "tiny"
    for number, name in enumerate(("n01", "n02")):
        target = root / "train" / name / "images"
        target.mkdir(parents=True)
        (target / f"{name}_0.JPEG").write_bytes(picture(100 * number))
        (root / "train" / name / f"{name}_boxes.txt").write_text("")
    for split in ("val", "test"):
        (root / split / "images").mkdir(parents=True)
        for index in range(3):
            (root / split / "images" / f"{split}_{index}.png").write_bytes(picture(10 * index))
    lines = "val_0.png\tn02\t0\t0\nval_1.png\tn01\t0\t0\nval_2.png\tn02\t0\t0\n"
    (root / "val" / "val_annotations.txt").write_text(lines)
    archive = tmp_path / "tiny.tar"
    with tarfile.open(archive, "w") as packed_set:
        packed_set.add(root, "tiny")
    for source in (root, root.parent, archive):
        images = load_images(source, "test", 16, tmp_path / "cache")
        assert images.classes == ("n01", "n02")
        labels = {int(pixels[0, 0, 0]): int(label) for pixels, label in zip(images.pixels, images.labels, strict=True)}
        assert labels == {0: 1, 10: 0, 20: 1}
        assert len(load_images(source, "train", 16, tmp_path / "cache")) == 2


def test_validation_folders_stand_in_for_test_folders(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    (root / "test").rename(root / "val")
    assert len(load_images(root, "test", 16, tmp_path / "cache")) == 6


def test_a_changed_folder_is_decoded_anew(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    assert len(load_images(root, "train", 16, tmp_path / "cache")) == 6
    (root / "train" / "bee" / "images" / "new.png").write_bytes(picture(7))
    assert len(load_images(root, "train", 16, tmp_path / "cache")) == 7


def test_one_pass_serves_every_size(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    images = load_set(root, (8, 16), tmp_path / "cache")
    assert {key: tuple(split.pixels.shape) for key, split in images.items()} == {
        (split, size): (6, 3, size, size) for split in ("train", "test") for size in (8, 16)
    }


def test_each_data_set_gets_its_path() -> None:
    one, two = (DatasetConfig(name="one"),), (DatasetConfig(name="one"), DatasetConfig(name="two"))
    assert (
        dataset_paths(["some/folder"], one) == dataset_paths(["one=some/folder"], one) == {"one": Path("some/folder")}
    )
    assert dataset_paths(["two=b", "one=a=b"], two) == {"one": Path("a=b"), "two": Path("b")}
    for given in ([], ["a"], ["one=a"], ["one=a", "one=b"], ["one=a", "three=b"], ["one=", "two=b"]):
        with pytest.raises(OptionError, match="this recipe needs: ") as caught:
            dataset_paths(given, two)
        assert "this recipe needs: --data one=PATH --data two=PATH" in caught.value.message


def test_a_data_set_says_how_many_classes_it_has(tmp_path: Path) -> None:
    root, device = folder(tmp_path / "set"), torch.device("cpu")
    assert load_dataset(DatasetConfig(), root, tmp_path / "cache", device).classes == 2
    with pytest.raises(OptionError, match="has 2 classes; the recipe's cifar10 has 10"):
        load_dataset(DatasetConfig(name="cifar10", classes=10), root, tmp_path / "cache", device)


def test_errors_say_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no archive")
    with pytest.raises(OptionError, match="has no class folders"):
        load_images(tmp_path / "notes.txt", "train", 16, tmp_path / "cache")
    root = folder(tmp_path / "set")
    (root / "train" / "bee" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(OptionError, match="broken.png is no image that can be read"):
        load_images(root, "train", 16, tmp_path / "cache")
    with pytest.raises(OptionError, match="does not exist"):
        load_images(tmp_path / "nowhere", "train", 16, tmp_path / "cache")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionError, match="has no class folders"):
        load_images(tmp_path / "empty", "train", 16, tmp_path / "cache")


def test_draws_repeat_with_the_generator_and_keep_labels_with_images(tmp_path: Path) -> None:
    images = load_images(folder(tmp_path / "set"), "train", 16, tmp_path / "cache")
    first, labels = images.draw(32, torch.Generator().manual_seed(3))
    again, same = images.draw(32, torch.Generator().manual_seed(3))
    assert torch.equal(first, again) and torch.equal(labels, same)
    # Flat pictures survive flips and shifts: bees are dark here, ants bright.
    assert bool(((first.mean((1, 2, 3)) > -1.5) == (labels == 0)).all())
    assert len(list(images.batches(4))) == 1
