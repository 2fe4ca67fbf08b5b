"""The development hook for torchvision: it acts when torchvision is executed, not before, and on nothing else."""

import importlib.util
import subprocess
import sys
import types
from pathlib import Path

import pytest

import paramgen._optional.torchvision

SCRIPT = Path(__file__).parents[2] / "scripts" / "torchvision_hook.py"
SHIM = "import paramgen._optional.torchvision as shim; shim.ensure_torchvision()"
USE = "from transformers import ViTForImageClassification; import torchvision"


@pytest.fixture
def hook() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("hook", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A torchvision that notes when it is executed, and a shim that notes when it is called."""
    noted: list[str] = []
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("NOTED.append('torchvision')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(paramgen._optional.torchvision, "ensure_torchvision", lambda: noted.append("shim"))
    return noted


def test_declares_the_operators_just_before_torchvision_runs(hook: types.ModuleType, calls: list[str]) -> None:
    spec = hook.Finder.find_spec("torchvision")
    assert calls == []  # looking for torchvision must stay cheap
    module = importlib.util.module_from_spec(spec)
    module.__dict__["NOTED"] = calls
    spec.loader.exec_module(module)
    assert calls == ["shim", "torchvision"]


def test_finds_nothing_else(hook: types.ModuleType, tmp_path: Path) -> None:
    assert hook.Finder.find_spec("torch") is None
    assert hook.Finder.find_spec("torchvision.ops") is None
    assert hook.Finder.find_spec("torchvision", [str(tmp_path)]) is None  # none is installed there


def test_lets_torchvision_run_where_paramgen_is_gone(
    hook: types.ModuleType, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "paramgen._optional.torchvision", None)
    spec = hook.Finder.find_spec("torchvision")
    module = importlib.util.module_from_spec(spec)
    module.__dict__["NOTED"] = calls
    spec.loader.exec_module(module)
    assert calls == ["torchvision"]


def test_is_installed_only_where_torchvision_is_broken(
    hook: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for broken in (True, False):  # the second time it must remove what it placed the first time
        message = f"RuntimeError: {hook.SYMPTOM}" if broken else ""
        monkeypatch.setattr(subprocess, "run", lambda *_, error=message, **__: types.SimpleNamespace(stderr=error))
        hook.install(str(tmp_path))
        assert sorted(path.suffix for path in tmp_path.iterdir()) == ([".pth", ".py"] if broken else [])


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [
        f"{USE}; {SHIM}",
        pytest.param(USE, marks=pytest.mark.thorough),
        pytest.param(f"{SHIM}; {USE}", marks=pytest.mark.thorough),
        pytest.param(f"{SHIM}; {SHIM}; {USE}", marks=pytest.mark.thorough),
    ],
)
def test_works_in_a_fresh_process_with_and_without_the_shim(first: str, hook: types.ModuleType, tmp_path: Path) -> None:
    (tmp_path / f"{hook.NAME}.py").write_bytes(SCRIPT.read_bytes())
    (tmp_path / f"{hook.NAME}.pth").write_text(f"import {hook.NAME}\n", encoding="utf-8")
    program = f"import site; site.addsitedir({str(tmp_path)!r}); {first}"
    subprocess.run([sys.executable, "-c", program], check=True)
