"""What `read_fuzz` mutates: for each reader a folder of good files, which of them are changed, and what reads them."""

import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import paramgen
from checkpoints.index import index
from checkpoints.writing import write_layout, write_shard
from paramgen.architectures import resolve
from paramgen.architectures.processors import read_tokenizer
from paramgen.comparison.run_record import RESULTS_VERSION, read_run
from paramgen.diffusion.loading import open_pipeline
from paramgen.hypernets.loading import load as load_hypernet
from paramgen.images.folders import folder_images
from paramgen.images.pictures import fitted, size_of
from paramgen.modelcard.card_data import known_of
from paramgen.output.card import write_card
from paramgen.output.info import info_of
from paramgen.output.verify import check_folder, load_folder
from paramgen.published.reader import read as read_pickle
from paramgen.storage.pretrained import pretrained_folder
from paramgen.zoo import Row, Zoo, ZooLayout
from paramgen.zoo.hashes import content_sha256

BERT: Final = (
    "transformers:bert?hidden_size=8&num_hidden_layers=1&num_attention_heads=2&intermediate_size=8&vocab_size=6"
    "&max_position_embeddings=8"
)
UNET: Final = (
    'diffusers:UNet2DModel?block_out_channels=[32]&down_block_types=["DownBlock2D"]&up_block_types=["UpBlock2D"]'
    "&layers_per_block=1&sample_size=8"
)


@final
@dataclass(frozen=True, slots=True)
class Reader:
    """One reader. `json` and `binary` are the files that are changed."""

    make: Callable[[Path], object]
    read: Callable[[Path], object]
    json: tuple[str, ...] = ()
    binary: tuple[str, ...] = ()


def _written(spec: str) -> Callable[[Path], object]:
    return lambda folder: paramgen.write(spec, folder, init="he", overwrite=True)


def _shipped(name: str) -> Callable[[Path], object]:
    return lambda folder: shutil.copytree(pretrained_folder(name), folder, dirs_exist_ok=True)


def _weights(folder: Path) -> None:
    folder.mkdir()
    save_file({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}, folder / "model.safetensors", {"format": "pt"})


def _config_alone(spec: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(dict(resolve(spec).layout.config)))

    return make


def _pickled(folder: Path) -> None:
    folder.mkdir()
    state = {"a.weight": torch.randn(3, 4), "b": torch.arange(5), "c": torch.randn(2, 2, 2).half()}
    torch.save({"state_dict": state, "epoch": 3, "args": {"x": [1, 2, (3, 4)]}}, folder / "new.pt")  # noqa: TID251
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)  # noqa: TID251


def _zoo(folder: Path) -> None:
    layout = ZooLayout(spec="x", config={}, kind="collected", form="full", base=None)
    write_layout(folder, layout, {})
    tensors = {"w": torch.zeros(2)}
    row = Row(
        id="a",
        task="t",
        split="train",
        texts=("x",),
        seed=0,
        steps=0,
        shard="00000.safetensors",
        form="full",
        metrics={"m": 0.5},
        licence="mit",
        source="s",
        revision="r",
        architecture_sha256=layout.architecture_sha256,
        content_sha256=content_sha256(tensors),
    )
    write_shard(folder, "00000.safetensors", [(row, tensors)])
    index(folder)


def _read_zoo(folder: Path) -> None:
    zoo = Zoo.open(folder)
    for _ in zoo.states():
        pass


def _tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made: Any = Tokenizer(
        models.WordLevel({word: place for place, word in enumerate("? a b c".split())}, unk_token="?")
    )
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    maker: Any = PreTrainedTokenizerFast
    maker(tokenizer_object=made, unk_token="?").save_pretrained(folder)


def _picture(kind: str) -> bytes:
    pixels = (np.random.default_rng(0).random((17, 23, 3)) * 255).astype("uint8")
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, kind)
    return held.getvalue()


def _pictures(folder: Path) -> None:
    folder.mkdir()
    for kind in ("jpeg", "png", "gif", "bmp", "webp", "tiff"):
        (folder / f"one.{kind}").write_bytes(_picture(kind))


def _read_pictures(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        fitted(content, [(3, 8, 8), (1, 5, 5)], path.name)
        size_of(content, path.name)


def _tar(folder: Path) -> None:
    folder.mkdir()
    for name in ("set.tar", "set.tar.gz"):
        packed = gzip.open if name.endswith(".gz") else Path.open
        with packed(folder / name, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
            for path in ("train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png"):
                content = _picture("png")
                entry = tarfile.TarInfo(path)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


def _read_tar(folder: Path) -> None:
    for name in ("set.tar", "set.tar.gz"):
        images = folder_images(folder / name)
        for split in (images.train, images.test):
            for _ in split.read(range(len(split.labels))):
                pass


def _run(folder: Path) -> None:
    folder.mkdir()
    curve = {"steps": [0, 5, 10], "accuracy": [0.1, 0.2, None], "loss": [2.3, 2.0, 1.5], "train_loss": [None, 2.0, 1.0]}
    rest = {"seconds": 1.5, "init_seconds": 0.1, "validation": {"accuracy": 0.2, "loss": 1.6}}
    run = {"format_version": RESULTS_VERSION, "status": "finished", **curve, **rest}
    (folder / "run.json").write_text(json.dumps(run))


def _card(folder: Path) -> None:
    folder.mkdir()
    text = "---\nlicense: mit\ndatasets: [a, b/c]\nlist: &a [1, *a]\ndate: 2020-01-01\n---\nwords\n".replace(", *a", "")
    (folder / "README.md").write_text(text)


def _loaded(folder: Path) -> None:
    load_folder(folder, nn.Linear(3, 2))


def _described(folder: Path) -> None:
    write_card(folder, overwrite=True)
    info_of(str(folder))
    check_folder(folder)


READERS: Final[Mapping[str, Reader]] = {
    "weights": Reader(_weights, _loaded, binary=("model.safetensors",)),
    "record": Reader(_written(BERT), _described, json=("paramgen.json", "config.json")),
    "transformers": Reader(_config_alone(BERT), lambda folder: resolve(str(folder)), json=("config.json",)),
    "diffusers": Reader(_config_alone(UNET), lambda folder: resolve(str(folder)), json=("config.json",)),
    "timm": Reader(
        _written("timm:resnet10t"), lambda folder: check_folder(folder, memory="meta"), json=("config.json",)
    ),
    "torchvision": Reader(
        _written("torchvision:mobilenet_v3_small"),
        lambda folder: check_folder(folder, memory="meta"),
        json=("config.json",),
    ),
    "hypernet": Reader(_shipped("first_light"), lambda folder: load_hypernet(str(folder)), json=("config.json",)),
    "supernet": Reader(_shipped("vision"), lambda folder: load_hypernet(str(folder)), json=("config.json",)),
    "pipeline": Reader(
        _shipped("edits"),
        lambda folder: open_pipeline(str(folder)),
        json=(
            "model_index.json",
            *(f"{part}/config.json" for part in ("codec", "denoiser", "prompts", "base")),
            "scheduler/scheduler_config.json",
        ),
    ),
    "pickle": Reader(
        _pickled,
        lambda folder: [read_pickle(folder / name) for name in ("new.pt", "old.pt")],
        binary=("new.pt", "old.pt"),
    ),
    "zoo": Reader(_zoo, _read_zoo, json=("zoo.json",), binary=("index.parquet", "shards/00000.safetensors")),
    "tokenizer": Reader(
        _tokenizer,
        lambda folder: read_tokenizer(str(folder)),
        json=("tokenizer.json", "tokenizer_config.json"),
        binary=("tokenizer.json",),
    ),
    "image": Reader(
        _pictures, _read_pictures, binary=tuple(f"one.{kind}" for kind in ("jpeg", "png", "gif", "bmp", "webp", "tiff"))
    ),
    "tar": Reader(_tar, _read_tar, binary=("set.tar", "set.tar.gz")),
    "run": Reader(_run, lambda folder: read_run(folder / "run.json"), json=("run.json",), binary=("run.json",)),
    "card": Reader(_card, known_of, binary=("README.md",)),
}
"""Every reader of a stranger's files, by name."""
