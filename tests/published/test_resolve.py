"""`hypernet:` followed by a published file, on disk or on the Hub: converted when it is first asked for."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from torch import nn

import paramgen
from paramgen.errors import ForeignError, HypernetError, OptionError
from paramgen.initializers import initializer_of
from paramgen.published import convert as conversion
from paramgen.published.convert import convert
from paramgen.published.origin import CONVERSION_RECORD, read_origin
from paramgen.published.resolve import resolve_hypernet
from tests.support.hub.connected import connected, environment_of
from tests.support.hub.faults import HALF
from tests.support.hub.server import Hub
from tests.support.published import hostile, published

STATE = published.drawn(published.ghn3(pretrained=True))
DATA = hostile.dumped(STATE)
SHA256 = sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches of huggingface_hub that are this test's own."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    return tmp_path / "assets" / "paramgen" / "converted"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    repositories = {
        "org/published": {f"{name}.pt": DATA for name in "cab"} | {"other/d.pt": DATA, "README.md": b"", "f.md": b""},
        "org/bad": {"evil.pt": next(iter(hostile.run_on_load("touch ran").values()))},
        "org/nothing": {"README.md": b""},
    }
    with connected(tmp_path, monkeypatch, xet=False) as hub:
        for name, files in repositories.items():
            repository = hub.store.fill(name, files)
            repository.refs["tags/v1"] = repository.refs["main"]
            repository.save()
        yield hub


def commit_of(hub: Hub) -> str:
    return hub.store["org/published"].refs["main"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ghn3.pt"
    path.write_bytes(DATA)
    return path


def kept(caches: Path) -> list[str]:
    return sorted(path.name for path in caches.glob("*/*"))


def test_a_file_of_the_hub(hub: Hub, caches: Path) -> None:
    found = initializer_of("hypernet:org/published@v1:other/d.pt").describe()
    assert found["published"] | {"bytes": 0, "parameters": 0} == {
        "family": "ghn3",
        "file": "other/d.pt",
        "bytes": 0,
        "sha256": SHA256,
        "parameters": 0,
        "repo": "org/published",
        "revision": commit_of(hub),
    }
    assert found["published"]["bytes"] == len(DATA)
    assert found["published"]["parameters"] == sum(value.numel() for value in STATE.values())
    assert found["hypernet"] == "org/published@v1:other/d.pt" and found["softmax"] == "explicit"
    assert kept(caches) == [SHA256]


def test_what_was_fetched_and_converted_is_used_again(hub: Hub, caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_hypernet("org/published:a.pt")
    downloads = hub.asked.count("cdn")
    monkeypatch.setattr("paramgen.published.resolve.convert", lambda *_, **__: pytest.fail("converted again"))
    again = resolve_hypernet("org/published:b.pt")  # the same bytes
    assert hub.asked.count("cdn") == downloads > 0
    assert again.origin is not None and again.origin.file == "b.pt"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    offline = resolve_hypernet("org/published:a.pt")
    assert offline.origin is not None and offline.origin.revision == commit_of(hub)
    assert not hub.asked and kept(caches) == [SHA256]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("org/published", ["one is to be named: a.pt, b.pt, c.pt, other/d.pt.", "hypernet:org/published:a.pt"]),
        ("org/published@v1", ["init='hypernet:org/published@v1:a.pt'"]),
        ("org/published:e.pt", ["'org/published:e.pt'", "has no file 'e.pt'"]),
        ("org/published@v2:a.pt", ["no such revision"]),
        ("org/absent:a.pt", ["no repository of that name"]),
        ("org/nothing", ["holds no hypernet"]),
    ],
)
def test_what_the_hub_has_not(hub: Hub, caches: Path, text: str, said: list[str]) -> None:
    with pytest.raises(HypernetError) as caught:
        resolve_hypernet(text)
    message = str(caught.value)
    assert all(word in message for word in said), message
    assert "\n" not in message and "Pass: init=" in message and len(message) < 300
    assert not kept(caches)


def test_a_hostile_file_of_the_hub(hub: Hub, caches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ForeignError):
        resolve_hypernet("org/bad:evil.pt")
    assert not kept(caches) and not (tmp_path / "ran").exists()


def test_a_connection_that_breaks(hub: Hub, caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.fail("cdn", HALF, times=100)
    with pytest.raises(HypernetError, match="cannot be reached"):
        resolve_hypernet("org/published:a.pt")
    assert not kept(caches)


@pytest.mark.parametrize("file", ["../a.pt", "/etc/passwd", "a//b.pt", ".a/b.pt", "x/../../b.pt", ""])
def test_what_is_no_name_of_a_file_is_not_asked_for(hub: Hub, file: str) -> None:
    with pytest.raises(OptionError, match="names no file of a repository"):
        resolve_hypernet(f"org/published:{file}")
    assert not hub.asked


def test_a_misspelt_file_is_not_looked_for_on_the_hub(hub: Hub) -> None:
    with pytest.raises(HypernetError, match="no such folder"):
        resolve_hypernet("folder/ghn3.pt")
    assert not hub.asked


def test_a_published_file_on_disk_is_converted_like_by_the_command(file: Path, caches: Path, tmp_path: Path) -> None:
    convert(file, tmp_path / "converted")
    by_command, by_name = resolve_hypernet(str(tmp_path / "converted")), resolve_hypernet(str(file))
    assert by_command.origin == by_name.origin
    assert by_name.origin is not None
    assert (by_name.origin.file, by_name.origin.sha256, by_name.origin.repo) == ("ghn3.pt", SHA256, None)
    assert by_command.hypernet.sha256 == by_name.hypernet.sha256
    prediction = paramgen.predict(nn.Conv2d(3, 4, 3), init=f"hypernet:{file}", example_input=torch.zeros(1, 3, 8, 8))
    assert prediction.rules["weight"] == "hypernet"


@pytest.mark.parametrize("spoilt", ["model.safetensors", CONVERSION_RECORD])
def test_what_was_spoilt_in_the_cache_is_converted_again(file: Path, caches: Path, spoilt: str) -> None:
    first = resolve_hypernet(str(file))
    (caches_of,) = caches.glob(f"*/{SHA256}")
    (caches_of / spoilt).write_bytes(b"{")
    again = resolve_hypernet(str(file))
    assert again.origin == first.origin
    assert again.hypernet.sha256 == first.hypernet.sha256


def test_nothing_is_kept_of_a_conversion_that_fails(file: Path, caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "_record", fail)
    with pytest.raises(KeyboardInterrupt):
        resolve_hypernet(str(file))
    assert not kept(caches)


@pytest.mark.parametrize("text", ["[]", "{}", '{"family": "ghn3", "file": 3}', "[" * 100_000, " " * 2_000_000])
def test_a_hostile_record(tmp_path: Path, text: str) -> None:
    (tmp_path / CONVERSION_RECORD).write_text(text)
    with pytest.raises(ForeignError) as caught:
        read_origin(tmp_path / CONVERSION_RECORD, parameters=1)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_record_has_no_origin(file: Path, tmp_path: Path) -> None:
    convert(file, tmp_path / "converted")
    (tmp_path / "converted" / CONVERSION_RECORD).unlink()
    assert resolve_hypernet(str(tmp_path / "converted")).origin is None


@pytest.mark.slow
def test_the_command_takes_a_file_of_the_hub(hub: Hub, tmp_path: Path) -> None:
    environment = os.environ | environment_of(hub, tmp_path)
    (tmp_path / "own.py").write_text("from torch import nn\n\ndef build():\n    return nn.Conv2d(3, 4, 3)\n")
    line = [sys.executable, "-m", "paramgen", "predict", "--arch", "own.py:build", "--out", "out"]
    line += ["--example-input", "1x3x8x8", "--init", "hypernet:org/published:a.pt"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "paramgen.json").read_text())["initializer"]["published"]
    assert (record["repo"], record["revision"], record["file"]) == ("org/published", commit_of(hub), "a.pt")
    assert record["sha256"] == SHA256
