"""The shim that makes torchvision importable: nothing where torchvision is healthy, twice the same where it is not."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import paramgen._optional.torchvision as shim


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """Schemas that the shim declares, with a torchvision whose binary and operators are not there."""
    noted: list[str] = []

    class Library:
        def __init__(self, name: str, kind: str) -> None:
            assert (name, kind) == ("torchvision", "FRAGMENT")

        def define(self, schema: str) -> None:
            noted.append(schema.partition("(")[0])

    (tmp_path / "_C.so").write_bytes(b"")
    found = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found if name == "torchvision" else None)
    monkeypatch.setattr(torch.library, "Library", Library)
    monkeypatch.setattr(torch.ops, "torchvision", SimpleNamespace(), raising=False)
    monkeypatch.setattr(shim, "_libraries", [])
    shim.ensure_torchvision.cache_clear()
    yield noted
    shim.ensure_torchvision.cache_clear()


def loader(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    def load_library(path: Any) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(torch.ops, "load_library", load_library)


def test_a_healthy_installation_is_left_alone(declared: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    loader(monkeypatch, None)
    shim.ensure_torchvision()
    assert declared == []


def test_missing_operators_are_declared_once(declared: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    loader(monkeypatch, OSError("undefined symbol"))
    for _ in range(3):
        shim.ensure_torchvision()
    assert declared == ["nms", "qnms"]
    operators: Any = torch.ops.torchvision
    operators.nms = operators.qnms = object()
    shim.ensure_torchvision.cache_clear()  # another copy of the shim, or torchvision itself, has declared them
    shim.ensure_torchvision()
    assert declared == ["nms", "qnms"]


def test_nothing_happens_without_torchvision(declared: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    shim.ensure_torchvision()
    assert declared == []
