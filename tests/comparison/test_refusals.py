"""What cannot be compared is refused at once, in one line, and nothing is written."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import paramgen
from paramgen.errors import ParamgenError

SMALL: dict[str, Any] = {"steps": 2, "seeds": 1, "lr": (1e-2,), "batch": 4, "init": ("library",)}


def build(num_classes: int = 10) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))


def refusal(tmp_path: Path, data: Any, **options: Any) -> str:
    arch = options.pop("arch", ("own", lambda: build(3)))
    with pytest.raises(ParamgenError) as caught:
        paramgen.compare(arch, data if isinstance(data, str) else str(data), out=tmp_path / "out", **SMALL | options)
    assert not (tmp_path / "out").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _empty_image(photos: Path) -> None:
    (photos / "train" / "red" / "000.png").write_bytes(b"")


def _broken_image(photos: Path) -> None:
    file = photos / "train" / "red" / "000.png"
    file.write_bytes(file.read_bytes()[:200])


def _no_image(photos: Path) -> None:
    (photos / "train" / "red" / "000.png").write_text("not a picture")


def _postscript(photos: Path) -> None:
    program = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n"
    (photos / "train" / "red" / "000.png").write_text(program, encoding="utf-8")


def _one_class(photos: Path) -> None:
    for split in ("train", "val"):
        for name in ("red", "green"):
            shutil.rmtree(photos / split / name)


def _no_classes(photos: Path) -> None:
    for file in (photos / "train" / "red").iterdir():
        file.rename(photos / file.name)
    for split in ("train", "val"):
        shutil.rmtree(photos / split)


def _unknown_class(photos: Path) -> None:
    (photos / "val" / "red").rename(photos / "val" / "pink")


def _latin(photos: Path) -> None:
    shutil.rmtree(photos)
    photos.write_bytes("Käse und Brot. ".encode("latin-1") * 100)


BAD_DATA = [
    (_empty_image, "000.png has 0 bytes"),
    (_broken_image, "000.png is no image that can be read"),
    (_no_image, "000.png is no image that can be read"),
    (_postscript, "000.png is no image that can be read"),
    (_one_class, "has one class, 'blue'"),
    (_no_classes, "has no class folders"),
    (_unknown_class, "a class 'pink' that the training images lack"),
    (_latin, "is not UTF-8 text: byte 1 is 0xe4"),
]
BAD_OPTIONS = [
    ({"steps": 0}, "steps is 0"),
    ({"seeds": 0}, "seeds is 0"),
    ({"batch": 1}, "batch is 1"),
    ({"lr": (1e-3, -1.0)}, "every learning rate must be positive"),
    ({"lr": float("nan")}, "every learning rate must be positive"),
    ({"lr": ()}, "every learning rate must be positive"),
    ({"lr": (1e-3, 1e-3)}, "names a learning rate twice"),
    ({"init": ("librari",)}, "Did you mean 'library'"),
    ({"init": ("library", "library")}, "'library' is named twice"),
    ({"init": ()}, "No initializer is named"),
    ({"arch": []}, "No architecture is named"),
    ({"arch": [("a", build), ("a", build)]}, "'a' is named twice"),
    ({"arch": ("two", lambda: build(2))}, "has 2 outputs; your data has 3 classes"),
    ({"arch": nn.Linear(768, 3)}, "takes 0: (2, 768); your data needs a network that takes one batch of images"),
    ({"arch": ("grey", lambda: nn.Conv2d(4, 3, 3))}, "takes 4 channels"),
    ({"arch": ("map", lambda: nn.Conv2d(3, 3, 3))}, "compare needs scores of shape (images, classes)"),
    ({"tokenizer": "bytes"}, "tokenizer is for a text"),
]


@pytest.mark.parametrize(("spoil", "said"), BAD_DATA, ids=[each[0].__name__[1:] for each in BAD_DATA])
def test_bad_data(photos: Path, tmp_path: Path, spoil: Any, said: str) -> None:
    spoil(photos)
    assert said in refusal(tmp_path, photos)


@pytest.mark.parametrize(("options", "said"), BAD_OPTIONS, ids=[each[1] for each in BAD_OPTIONS])
def test_bad_options(photos: Path, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    assert said in refusal(tmp_path, photos, **options)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("nowhere", "'nowhere' does not exist"),
        ("torchvision:CIFAR11", "Did you mean 'CIFAR10'"),
        ("torchvision:CIFAR10?root=nowhere", "&download=true to fetch it"),
        ("torchvision:", "names no data"),
    ],
)
def test_data_that_are_not_there(tmp_path: Path, data: str, said: str) -> None:
    assert said in refusal(tmp_path, data)


def test_a_text_shorter_than_a_window(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("to be or not to be", encoding="utf-8")
    network = nn.Sequential(nn.Embedding(256, 4), nn.Linear(4, 256))
    assert "a window has 16" in refusal(tmp_path, tmp_path / "short.txt", arch=network)


def test_a_vocabulary_smaller_than_the_data_s(tmp_path: Path, text: Path) -> None:
    arch = "gpt2?n_layer=1&n_embd=16&n_head=2&n_positions=32&vocab_size=100"
    said = refusal(tmp_path, text, arch=arch)
    assert "has a vocabulary of 100; your data has 256 tokens. Pass: overrides={'vocab_size': 256}" in said
    assert "overrides={'n_positions': 64}" in refusal(tmp_path, text, arch=arch.replace("100", "256"), length=64)


def test_a_language_model_that_reads_ahead(tmp_path: Path, text: Path) -> None:
    class Ahead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(256, 8)
            self.head = nn.Linear(8, 256)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.head(self.embedding(tokens).mean(1, keepdim=True).expand(-1, tokens.shape[1], -1))

    assert "sees the tokens that it should predict" in refusal(tmp_path, text, arch=("ahead", Ahead))


def test_a_folder_of_something_else(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(ParamgenError, match="holds no comparison"):
        paramgen.compare(("own", lambda: build(3)), str(photos), out=tmp_path / "out", **SMALL)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter.txt"]


def test_results_within_the_data(photos: Path) -> None:
    with pytest.raises(ParamgenError, match="lies within the data"):
        paramgen.compare(("own", lambda: build(3)), str(photos), out=photos / "train" / "out", **SMALL)
    assert not (photos / "train" / "out").exists()
