"""Hypernets and larger models from a Hub on this machine: one commit, no pickles, and one line where it goes wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save
from torch import Tensor, nn

import paramgen
from paramgen.errors import ParamgenError
from paramgen.initializers import initializer_of
from tests.support.hub.connected import connected
from tests.support.hub.faults import HALF
from tests.support.hub.server import Hub

INDEX = b'{"weight_map": {"weight": "model-00001-of-00002.safetensors", "bias": "model-00002-of-00002.safetensors"}}'
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
PLAIN = pytest.mark.parametrize("hub", ["lfs"], indirect=True)  # where the protocol cannot matter
BOTH = pytest.mark.parametrize("kind", ["hypernet", "weight_selection"])


@pytest.fixture(params=["xet", "lfs"])
def hub(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with connected(tmp_path, monkeypatch, xet=request.param == "xet") as hub:
        yield hub


@pytest.fixture
def repositories(hub: Hub, hypernet_folder: Path) -> Hub:
    """A hypernet and a sharded model of the same names, of which each test asks by its kind."""
    hypernet = {path.name: path.read_bytes() for path in hypernet_folder.iterdir()}
    files = {"hypernet": hypernet, "weight_selection": sharded(9.0)}
    for kind, contents in files.items():
        hub.store.fill(f"me/{kind}", contents)
        hub.store.fill(f"other/{kind}-private", contents, private=True)
        hub.store.fill(f"other/{kind}-gated", contents, gated=True)
    hub.store.fill("me/pickled", {"pytorch_model.bin": b"pickle", "config.json": b"{}"})
    hub.store.create("me/dataset", kind="dataset")
    return hub


def sharded(value: float) -> dict[str, bytes]:
    tensors = {SHARDS[0]: {"weight": torch.full((20, 30), value)}, SHARDS[1]: {"bias": torch.full((20,), value)}}
    below = {"unwanted/model.safetensors": b"not a header"}  # as in a pipeline of several models
    return {"model.safetensors.index.json": INDEX, **{name: save(part) for name, part in tensors.items()}, **below}


def described(name: str) -> dict[str, object]:
    return dict(initializer_of(name).describe())


def state(init: str) -> dict[str, Tensor]:
    module = nn.Linear(10, 8)
    return paramgen.predict(module, init=f"{init}?head=true", example_input=torch.zeros(2, 10)).state_dict()


@BOTH
def test_the_commit_is_recorded_and_can_be_asked_for(repositories: Hub, kind: str) -> None:
    found = repositories.store[f"me/{kind}"]
    first = found.refs["main"]
    found.refs["tags/v1"] = first
    before = described(f"{kind}:me/{kind}")
    assert before["revision"] == first and not repositories.authorized
    later = repositories.store.fill(f"me/{kind}", {"notes.md": b""}).refs
    found.refs |= later
    found.save()
    assert described(f"{kind}:me/{kind}")["revision"] == later["main"] != first
    for pin in (first, "v1"):
        again = described(f"{kind}:me/{kind}@{pin}")
        assert again["revision"] == first and again["sha256"] == before["sha256"]


def test_shards_are_read_and_what_is_below_is_not_fetched(repositories: Hub) -> None:
    assert set(state("weight_selection:me/weight_selection")["weight"].flatten().tolist()) == {9.0}
    assert not list(Path(constants.HF_HUB_CACHE).glob("**/unwanted"))


def test_a_head_that_moves_between_two_files_does_not_mix_them(repositories: Hub, hypernet_folder: Path) -> None:
    first = described("hypernet:me/hypernet")
    repositories.store.fill("me/hypernet", {"notes.md": b"1"})

    def move(hub: Hub) -> None:
        hub.store.fill("me/hypernet", {"model.safetensors": b"of another config"})

    repositories.fail("resolve", move, skip=1)
    assert described("hypernet:me/hypernet")["sha256"] == first["sha256"]


@PLAIN
@BOTH
def test_what_was_fetched_is_used_again_without_the_hub(
    repositories: Hub, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = described(f"{kind}:me/{kind}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repositories.asked.clear()
    assert described(f"{kind}:me/{kind}") == first
    with pytest.raises(ParamgenError, match="not in the cache, and HF_HUB_OFFLINE forbids") as caught:
        described(f"{kind}:me/other")
    assert "\n" not in str(caught.value)
    assert not repositories.asked


@PLAIN
@BOTH
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("me/absent", "no repository of that name"),
        ("me/dataset", "no repository of that name"),
        ("me/{kind}@v9", "no such revision"),
        ("me/{kind}@", "empty revision"),
        ("other/{kind}-private", "no repository of that name that you may read"),
        ("other/{kind}-gated", "is gated, and you were not let in"),
        ("me/pickled", "pytorch_model.bin"),
    ],
)
def test_what_cannot_be_had_is_one_line(repositories: Hub, kind: str, name: str, said: str) -> None:
    with pytest.raises(ParamgenError, match=said) as caught:
        described(f"{kind}:{name.format(kind=kind)}")
    message = str(caught.value)
    assert "\n" not in message and "init=" in message and len(message) < 400 and "http" not in message


@PLAIN
@BOTH
def test_who_may_not_read_is_told_why(repositories: Hub, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_gone")
    with pytest.raises(ParamgenError, match="does not accept the token"):
        described(f"{kind}:me/{kind}")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ParamgenError, match="that you may read without a token"):
        described(f"{kind}:other/{kind}-private")
    assert described(f"{kind}:me/{kind}")["revision"]


@BOTH
def test_faults_that_pass_are_waited_for(repositories: Hub, kind: str) -> None:
    for route in ("RESOLVE", "resolve", "info", "tree", "xet", "cdn"):
        repositories.fail(route, 503)
    repositories.fail("cdn", HALF)
    assert described(f"{kind}:me/{kind}")["revision"] == repositories.store[f"me/{kind}"].refs["main"]


@PLAIN
@BOTH
def test_a_hub_that_is_down_is_one_line(repositories: Hub, kind: str) -> None:
    for route in ("resolve", "info", "tree"):
        repositories.fail(route, 503, times=1000)
    with pytest.raises(ParamgenError, match="the Hub answers 503") as caught:
        described(f"{kind}:me/{kind}")
    assert "\n" not in str(caught.value)
