"""Data as users have them: folders, tars, library sets, texts; the same pictures whatever they come in."""

import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from paramgen.comparison.comparing import typed_vocabulary
from paramgen.comparison.data import open_data
from paramgen.comparison.data.text import TextSet, tokenized
from paramgen.comparison.data_module import DataModule
from paramgen.comparison.protocol import Protocol
from paramgen.comparison.tasks import ImageTask, TextTask
from paramgen.errors import OptionError
from paramgen.images.sets import ImageSet, Pixels, decoded, keep, kept_at, resized
from paramgen.initializers import initializer_of
from paramgen.registry.overrides import join_spec

SHAPE = (3, 16, 16)
InitProgram = Callable[[Path, int], None]


def images(spec: object) -> ImageSet:
    found = open_data(str(spec))
    assert isinstance(found, ImageSet)
    return found


def read(spec: object, shape: tuple[int, int, int] = SHAPE) -> tuple[Pixels, Pixels]:
    return decoded(images(spec), shape, train=1000, test=1000, folder=None)


def test_class_folders_are_numbered_by_name_and_split_as_they_say(photos: Path) -> None:
    found = images(photos)
    assert found.classes == ("blue", "green", "red") and not found.notes
    train, test = read(photos)
    assert train.pixels.shape == (36, *SHAPE) and torch.bincount(test.labels).tolist() == [6, 6, 6]
    means = torch.stack([train.pixels[train.labels == label].float().mean((0, 2, 3)) for label in range(3)])
    assert means.argmax(1).tolist() == [2, 1, 0]  # blue, green, red


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_tar_holds_the_same_as_its_folder(photos: Path, tmp_path: Path, mode: Any) -> None:
    file = tmp_path / f"photos.tar{mode[1:].replace(':', '.')}"
    with tarfile.open(file, mode) as archive:
        archive.add(photos, "some/where")
    for one, other in zip(read(photos), read(file), strict=True):
        order = [each.pixels.flatten(1).double().mean(1).argsort() for each in (one, other)]
        assert torch.equal(one.pixels[order[0]], other.pixels[order[1]])
        assert torch.equal(one.labels[order[0]], other.labels[order[1]])


def test_a_tar_never_reaches_the_disk(tmp_path: Path, draw: InitProgram) -> None:
    draw(tmp_path / "in", 3)
    file = tmp_path / "evil.tar"
    with tarfile.open(file, "w") as archive:
        archive.add(tmp_path / "in", "in")
        archive.add(tmp_path / "in" / "red" / "000.png", "../../escaped/red/000.png")
        link = tarfile.TarInfo("in/red/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    before = set(tmp_path.rglob("*"))
    open_data(str(file))
    assert set(tmp_path.rglob("*")) == before


def test_one_level_is_divided_by_a_fixed_seed(tmp_path: Path, draw: InitProgram) -> None:
    draw(tmp_path / "flat", 10)
    train, test = read(tmp_path / "flat")
    assert torch.bincount(train.labels).tolist() == [8, 8, 8] and torch.bincount(test.labels).tolist() == [2, 2, 2]
    again = read(tmp_path / "flat")[1]
    assert torch.equal(test.pixels, again.pixels)
    assert "held out" in images(tmp_path / "flat").notes[0]


def test_the_layout_of_tiny_imagenet(tmp_path: Path, draw: InitProgram) -> None:
    root = tmp_path / "tiny"
    draw(root / "train", 4)
    for folder in list((root / "train").iterdir()):
        (folder / "images").mkdir()
        for file in folder.glob("*.png"):
            file.rename(folder / "images" / file.name)
    shutil.copytree(root / "train" / "red" / "images", root / "val" / "images")
    shutil.copytree(root / "train" / "red" / "images", root / "test" / "images")  # without labels
    lines = [f"{index:03}.png\tred\t0\t0\t9\t9" for index in range(4)]
    (root / "val" / "val_annotations.txt").write_text("\n".join(lines), encoding="utf-8")
    train, test = read(root)
    assert len(train.labels) == 12 and test.labels.tolist() == [2] * 4


def test_pictures_are_cropped_in_the_middle_and_not_squeezed(tmp_path: Path, draw: InitProgram) -> None:
    draw(tmp_path / "flat", 5)
    wide = Image.new("RGB", (48, 16), (0, 0, 255))
    wide.paste((255, 0, 0), (16, 0, 32, 16))
    wide.save(tmp_path / "flat" / "red" / "wide.png")
    for split in read(tmp_path / "flat"):
        pure = (split.pixels[:, 0] == 255).flatten(1).all(1)
        if pure.any():
            return
    raise AssertionError("the middle of the wide picture is nowhere")


def test_grey_where_the_network_takes_one_channel(photos: Path) -> None:
    assert read(photos, (1, 8, 12))[0].pixels.shape == (36, 1, 8, 12)


def test_kept_pictures_are_not_decoded_again(photos: Path, tmp_path: Path) -> None:
    found = images(photos)
    folder = kept_at(found, SHAPE, train=20, test=5, cache=tmp_path / "cache")
    first = decoded(found, SHAPE, train=20, test=5, folder=folder)
    assert [len(each.labels) for each in first] == [20, 5]
    keep(folder, *first)
    for file in photos.rglob("*.png"):
        file.write_bytes(b"gone")
    second = decoded(found, SHAPE, train=20, test=5, folder=folder)
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(first, second, strict=True))
    assert kept_at(images(photos), SHAPE, train=20, test=5, cache=tmp_path / "cache") != folder


def test_arrays_are_scaled_to_what_the_network_takes() -> None:
    given = Pixels(pixels=torch.full((3, 3, 8, 8), 200, dtype=torch.uint8), labels=torch.tensor([0, 1, 2]))
    assert resized(given, (3, 4, 4)).pixels.unique().tolist() == [200]
    assert resized(given, (3, 8, 8)) is given


def test_a_torchvision_set_without_splits_is_divided(tmp_path: Path) -> None:
    found = images("torchvision:FakeData?size=50&num_classes=3&image_size=[3,20,20]")
    assert (len(found.train.labels), len(found.test.labels), len(found.classes)) == (40, 10, 3)
    assert decoded(found, SHAPE, train=8, test=4, folder=None)[0].pixels.shape == (8, *SHAPE)


def test_a_picture_that_a_library_cannot_decode_is_said_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    found = images("torchvision:FakeData?size=10&num_classes=2&image_size=[3,20,20]")

    def bomb(part: Any, index: int) -> Any:
        raise Image.DecompressionBombError("Image size (400000000 pixels)\nexceeds limit")

    monkeypatch.setattr("torchvision.datasets.FakeData.__getitem__", bomb)
    with pytest.raises(
        OptionError, match=r"FakeData, image \d+ cannot be read \(DecompressionBombError: Image size"
    ) as it:
        decoded(found, SHAPE, train=8, test=4, folder=None)
    assert "\n" not in str(it.value)


@pytest.mark.slow
def test_sets_of_datasets(tmp_path: Path, photos: Path) -> None:
    datasets = pytest.importorskip("datasets")
    labels = [0, 1, 2, 0, 1, 2, -1]
    files = [str(file) for file in sorted((photos / "train" / "red").iterdir())[: len(labels)]]
    features = datasets.Features(
        {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=["blue", "green", "red"])}
    )
    part = datasets.Dataset.from_dict({"picture": files, "kind": labels}, features=features)
    datasets.DatasetDict({"train": part, "validation": part}).save_to_disk(tmp_path / "saved")
    found = images(f"datasets:{tmp_path / 'saved'}")
    assert found.classes == ("blue", "green", "red")
    assert decoded(found, SHAPE, train=9, test=9, folder=None)[1].labels.tolist() == labels[:-1]
    words = datasets.Dataset.from_dict({"text": ["one two", "three four"] * 20})
    words.save_to_disk(tmp_path / "words")
    text = open_data(f"datasets:{tmp_path / 'words'}")
    assert isinstance(text, TextSet) and text.train.startswith("one two\nthree four")


def test_a_text_is_its_bytes_and_its_end_is_held_out(text: Path) -> None:
    found = open_data(str(text))
    assert isinstance(found, TextSet)
    assert (found.train + found.test).replace("\n", "") == text.read_text().replace("\n", "")
    tokens = tokenized(found, None)
    read = [bytes(part.tolist()).decode() for part in (tokens.train, tokens.validation, tokens.test)]
    assert read[0] + read[1] == found.train and read[2] == found.test and tokens.vocabulary == 256
    assert len(read[1]) == pytest.approx(0.1 * len(found.train), abs=1)


def test_a_folder_of_texts_says_what_is_for_testing(tmp_path: Path) -> None:
    for name in ("train.txt", "more.md", "wiki-test.txt"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    found = open_data(str(tmp_path))
    assert isinstance(found, TextSet)
    assert (found.train, found.test) == ("more.md\ntrain.txt", "wiki-test.txt")


def test_a_tokenizer_of_the_users(text: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"owl": 0, "sea": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    found = open_data(str(text))
    assert isinstance(found, TextSet)
    tokens = tokenized(found, str(tmp_path / "tokenizer.json"))
    assert tokens.vocabulary == 3 and tokens.train[:7].tolist() == [2, 0, 2, 2, 2, 2, 2]


def test_a_seed_decides_the_order_and_an_epoch_leaves_nothing_out(photos: Path) -> None:
    train, test = read(photos)
    task = ImageTask(train=train, validation=test, test=test, classes=("a", "b", "c"), mean=(0.5,) * 3, std=(0.2,) * 3)

    def first(seed: int) -> list[float]:
        stream = task.train_batches(seed, 8)
        return torch.cat([next(stream)[0] for _ in range(9)]).flatten(1).sum(1).tolist()

    assert first(1) == first(1) != first(2)
    epochs = first(1)
    assert sorted(epochs[:36]) == sorted(epochs[36:])
    assert task.describe().chance == pytest.approx(1 / 3)


def test_windows_of_a_text_are_asked_for_what_comes_next(text: Path) -> None:
    found = open_data(str(text))
    assert isinstance(found, TextSet)
    task = TextTask(tokens=tokenized(found, None), length=16, windows=5)
    windows, wanted = next(task.train_batches(0, 4))
    assert windows.shape == (4, 16) and torch.equal(windows[:, 1:], wanted)
    scores, targets = task.answers(torch.zeros(4, 16, 256), wanted)
    assert scores.shape == (60, 256) and torch.equal(targets.view(4, 15), wanted)
    assert sum(len(each) for each, _ in task.test_batches(2)) == 5
    marked = replace(task, tokens=replace(task.tokens, validation=torch.full_like(task.tokens.validation, 7)))
    kept_back = torch.cat([each for each, _ in marked.validation_batches(2)])
    assert len(kept_back) and bool((kept_back == 7).all()), "what learning rates are chosen on is no test text"


def test_a_hypernet_knows_the_tokenizer_that_was_trained(text: Path, tmp_path: Path) -> None:
    module = DataModule(str(text), Protocol(), tokenizer=None, cache=None, vocabulary=270)
    resolved = module.resolved(initializer_of("hypernet:text")).describe()
    module.keep_tokenizer(tmp_path / "words")
    read = initializer_of(f"hypernet:text?tokenizer={tmp_path / 'words'}").describe()
    assert resolved["spelling"] == read["spelling"]


@pytest.mark.parametrize(
    ("typed", "tokens", "unit"), [(None, 256, "byte"), (256, 256, "byte"), (270, 270, "token")], ids=str
)
def test_a_text_is_read_with_the_vocabulary_that_was_typed(
    text: Path, typed: int | None, tokens: int, unit: str
) -> None:
    overrides = {} if typed is None else {"vocab_size": typed}
    for specs, more in ((["gpt2"], overrides), ([join_spec("gpt2", overrides)], {})):
        size = typed_vocabulary(specs, more)
        module = DataModule(str(text), Protocol(), tokenizer=None, cache=None, typed=size)
        assert (module.answers, unit in module.identity) == (tokens, True)


def test_networks_of_several_vocabularies_read_the_least() -> None:
    assert typed_vocabulary(["gpt2?vocab_size=900", "gpt2?n_layer=2&vocab_size=600"], {}) == 600
    assert typed_vocabulary(["gpt2?vocab_size=900", "gpt2"], {}) is None
