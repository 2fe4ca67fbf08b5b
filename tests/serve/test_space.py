"""The Space, with a stand-in for gradio: only listed names, and a disk that does not fill."""

import importlib.util
import shutil
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import serve.app

APP = Path(serve.app.__file__).parent / "space" / "app.py"


class Told(Exception):
    """What a visitor is told."""


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.setitem(sys.modules, "gradio", SimpleNamespace(Error=Told, Blocks=object))
    spec = importlib.util.spec_from_file_location("space", APP)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.MADE.rmdir()
    monkeypatch.setattr(module, "MADE", tmp_path / "made")
    return module


@pytest.mark.parametrize(
    ("arch", "init"),
    [("/etc/passwd", "he"), ("file.py:build", "he"), ("timm:resnet10t", "he"), ("vit_ti16", "lsuv?data=/etc"),
     ("vit_ti16", "hypernet:evil/repo"), ("vit_ti16", "diffusion"), ("", "")],
)  # fmt: skip
def test_only_what_is_listed(space: ModuleType, arch: str, init: str) -> None:
    with pytest.raises(Told, match="from the lists"):
        space.predict(arch, init, 0)
    assert not space.MADE.exists()


def test_nothing_piles_up(space: ModuleType) -> None:
    for seed in range(2):
        archive, _ = space.predict("resnet18", "he", seed)
        assert [path.name for path in space.MADE.iterdir()] == ["weights.zip"] and Path(archive).is_file()


def test_a_full_disk_is_told(space: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    usage: Any = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 9 * 10**8, 10**8))
    with pytest.raises(Told, match="disk is full"):
        space.predict("resnet18", "he", 0)
    assert list(space.MADE.iterdir()) == []
