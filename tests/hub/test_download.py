"""Where nobody takes a connection in the Hub's place, that is said at once, and what is in the cache is used."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from paramgen.architectures.processors import read_tokenizer
from paramgen.errors import HypernetError, OptionError, ParamgenError, PipelineError
from paramgen.hub import download as module
from paramgen.initializers import initializer_of
from tests.support.hub.connected import connected
from tests.support.hub.server import Hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(module, "_REACHED", set())
    with connected(tmp_path, monkeypatch, xet=False) as hub:
        yield hub


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Put a closed port in the Hub's place; return what huggingface_hub is told to download nevertheless."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    asked: list[Any] = []
    for name in ("hf_hub_download", "snapshot_download"):
        download = getattr(module, name)

        def noted(*names: Any, download: Any = download, **how: Any) -> Any:
            asked.append(how.get("local_files_only", False))
            return download(*names, **how)

        monkeypatch.setattr(module, name, noted)
    return asked


@pytest.mark.parametrize("init", ["hypernet:org/nosuch", "hypernet:org/nosuch:a.pt", "grow:org/nosuch"])
def test_a_hub_that_takes_no_connection_is_asked_nothing(nobody: list[Any], init: str) -> None:
    with pytest.raises(ParamgenError, match="the Hub cannot be reached") as caught:
        initializer_of(init).describe()
    assert "\n" not in str(caught.value) and nobody == [True]  # the cache was looked into


def test_a_tokenizer_waits_for_no_hub_either(nobody: list[Any]) -> None:
    with pytest.raises(OptionError, match="'org/nosuch' is neither here nor to be had from the Hub"):
        read_tokenizer("org/nosuch")


def test_a_look_up_that_does_not_end_is_waited_for_so_long_only(
    nobody: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def look_up(*_: Any, **__: Any) -> None:
        ended.wait()
        raise OSError("no such host")

    monkeypatch.setattr(module, "PATIENCE", 0.01)
    monkeypatch.setattr(socket, "create_connection", look_up)
    try:
        assert not module.reachable()
    finally:
        ended.set()


def test_what_is_in_the_cache_needs_no_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.store.fill("me/it", {"config.json": b"{}"})
    online = module.fetch_file("me/it", "config.json")
    assert module.fetch_folder("me/it", ["*.json"]) == online.parent
    monkeypatch.setattr(module, "reachable", lambda: False)
    assert module.fetch_file("me/it", "config.json") == online
    assert module.fetch_folder("me/it", ["*.json"]) == module.fetch_tree("me/it", ["*.json"]) == online.parent
    with pytest.raises(module.Unreachable):
        module.fetch_file("me/it", "absent.json")
    assert module.files_of("me/it") == []


def test_who_answered_once_is_not_asked_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.reachable()
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("asked again"))
    assert module.reachable()


@pytest.mark.parametrize(
    ("proxy", "bypassed", "address"),
    [
        ("", "", ("hub.example", 443)),
        ("http://proxy.example:3128", "", ("proxy.example", 3128)),
        ("proxy.example:3128", "", ("proxy.example", 3128)),
        ("http://proxy.example:3128", "hub.example", ("hub.example", 443)),
    ],
)
def test_a_proxy_stands_for_the_hub(
    monkeypatch: pytest.MonkeyPatch, proxy: str, bypassed: str, address: tuple[str, int]
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", bypassed)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.example")
    assert module._address() == address


def test_a_name_that_is_no_repository_is_refused_without_a_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(module, "reachable", lambda: pytest.fail("asked the Hub"))
    for init in ("hypernet:nosuch", "hypernet:nosuch@main", "hypernet:nosuch:a.pt"):
        with pytest.raises(HypernetError, match="is org/name. With paramgen come .*text, vision"):
            initializer_of(init).describe()
    with pytest.raises(PipelineError, match="is org/name"):
        initializer_of("diffusion:nosuch?prompt=sepia").describe()
