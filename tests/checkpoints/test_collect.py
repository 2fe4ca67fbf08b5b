"""Published checkpoints are taken with licence, card and commit; what is bad is skipped by name, the rest is kept."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from safetensors.torch import load_file, save_file

from checkpoints.collect import collect
from paramgen.errors import ZooError
from paramgen.zoo import Zoo
from tests.support.hub.connected import connected

WEIGHTS = "diffusion_pytorch_model.safetensors"
CARD = "---\nlicense: mit\npipeline_tag: image-to-image\n---\n# A small network\n\nIt makes images.\n"
SMALL = {"sample_size": 8, "layers_per_block": 1, "block_out_channels": [8], "norm_num_groups": 4}
SMALL |= {"down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "add_attention": False}


def quiet(what: str, done: int, total: int) -> None:
    """Report nothing."""


def published(folder: Path, seed: int, *, card: str = CARD, **changes: Any) -> Path:
    """Save a network as its library does, with a card."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        UNet2DModel(**SMALL | changes).save_pretrained(folder)
    if card:
        (folder / "README.md").write_text(card)
    return folder


def changed(folder: Path, change: str) -> Path:
    tensors = load_file(folder / WEIGHTS)
    if change == "nan":
        tensors["conv_in.bias"][0] = torch.nan
    elif change == "shape":
        tensors["conv_in.bias"] = torch.zeros(3)
    elif change == "missing":
        del tensors["conv_in.bias"]
    elif change == "unexpected":
        tensors["backdoor"] = torch.zeros(1)
    save_file(tensors, folder / WEIGHTS)
    return folder


def spoil(folder: Path, how: str, number: int) -> None:
    """Put a checkpoint there that must be skipped."""
    target = published(folder / how, number, card="" if how == "unlicensed" else CARD)
    if how == "pickles":
        (target / WEIGHTS).rename(target / "pytorch_model.bin")
    elif how == "truncated":
        (target / WEIGHTS).write_bytes((target / WEIGHTS).read_bytes()[:2_000])
    elif how == "foreign":
        (target / "config.json").write_text(json.dumps({"name": "mine"}))
    elif how == "linked":
        (target / "README.md").rename(target.parent / "secret")
        (target / "README.md").symlink_to("../secret")
    elif how != "unlicensed":
        changed(target, how)


REASONS = {
    "foreign": "none of diffusers', transformers' or timm's",
    "linked": "its README.md is a link",
    "missing": "it has no tensor 'conv_in.bias'",
    "nan": "not finite",
    "pickles": "only pickles (pytorch_model.bin)",
    "shape": "its 'conv_in.bias' is (3,), its architecture's is (8,)",
    "truncated": "it is damaged",
    "unexpected": "its tensor 'backdoor' is none of its architecture's",
    "unlicensed": "it has no licence",
}


def test_bad_checkpoints_are_skipped_by_name_and_the_others_are_kept(tmp_path: Path) -> None:
    given = tmp_path / "given"
    for number, how in enumerate(REASONS):
        spoil(given, how, number)
    first = published(given / "first", 100)
    published(given / "again", 100)  # the same weights
    published(given / "other", 101, sample_size=16)  # another architecture
    found = collect([str(given), str(tmp_path / "absent")], tmp_path / "out", licence=None, report=quiet)
    reasons = {each.id: each.reason for each in found.skipped}
    assert {name: reason in reasons.get(name, "") for name, reason in REASONS.items()} == dict.fromkeys(REASONS, True)
    assert "it is the same as again-" in reasons["first"] and "is no folder" in reasons[str(tmp_path / "absent")]
    assert sorted(found.zoos.values()) == [1, 1]
    for name in found.zoos:
        zoo = Zoo.open(tmp_path / "out" / name)
        row = zoo.rows[0]
        assert (row.licence, row.texts[0]) == ("mit", "A small network")
        assert (tmp_path / "out" / name / "cards" / f"{row.id}.md").read_text() == CARD
        UNet2DModel(**zoo.layout.config).load_state_dict(zoo.restore(row.id))
        if row.source == "again":
            stored = load_file(first / WEIGHTS)
            assert all(torch.equal(each, stored[key]) for key, each in zoo.restore(row.id).items())


def test_what_is_there_is_added_to_and_a_licence_can_be_given(tmp_path: Path) -> None:
    one, two = (published(tmp_path / name, seed, card="") for seed, name in enumerate(("one", "two")))
    collect([str(one)], tmp_path / "out", licence="mit", report=quiet)
    found = collect([str(two)], tmp_path / "out", licence="apache-2.0", report=quiet)
    assert list(found.zoos.values()) == [2]
    rows = Zoo.open(tmp_path / "out" / next(iter(found.zoos))).rows
    assert {row.source: row.licence for row in rows} == {"one": "mit", "two": "apache-2.0"}
    again = collect([str(two)], tmp_path / "out", licence="apache-2.0", report=quiet)
    assert list(again.zoos.values()) == [2]


def test_a_pipe_among_the_shards_is_skipped_by_name(tmp_path: Path) -> None:
    collect([str(published(tmp_path / "one", 0))], tmp_path / "out", licence=None, report=quiet)
    (zoo,) = (tmp_path / "out").iterdir()
    os.mkfifo(zoo / "shards" / "pipe.safetensors")
    found = collect([str(published(tmp_path / "two", 1))], tmp_path / "out", licence=None, report=quiet)
    assert list(found.zoos.values()) == [2]
    assert [(each.id, "is a pipe" in each.reason) for each in found.skipped] == [("pipe.safetensors", True)]


def test_nothing_collected_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="Nothing of 1 sources could be collected; the first, .*no config.json"):
        collect([str(tmp_path)], tmp_path / "out", licence=None, report=quiet)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_hub_gives_one_commit_and_it_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi

    folder = published(tmp_path / "given", 0)
    with connected(tmp_path, monkeypatch):
        api = HfApi()
        api.create_repo("me/small")
        commit = api.upload_folder(repo_id="me/small", folder_path=folder).oid
        found = collect([f"hub:me/small@{commit}", "hub:me/none"], tmp_path / "out", licence=None, report=quiet)
    row = Zoo.open(tmp_path / "out" / next(iter(found.zoos))).rows[0]
    assert (row.source, row.revision, row.licence) == ("hub:me/small", commit, "mit")
    assert [each.id for each in found.skipped] == ["hub:me/none"]
