"""In the command line's own process, libraries are imported without what a command does not use."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from paramgen._optional import light

if TYPE_CHECKING:
    from pathlib import Path

LATER = """
from paramgen_late import VALUE, twice

def use():
    return twice(VALUE())
"""


@pytest.fixture
def modules(tmp_path: "Path", monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "paramgen_late.py").write_text("def VALUE(): return 4\n\ndef twice(x): return 2 * x\n\nSEEN = 1\n")
    (tmp_path / "paramgen_later.py").write_text(LATER)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("paramgen_late", "paramgen_later"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("modules")
def test_a_deferred_module_is_imported_when_something_of_it_is_called() -> None:
    with light.deferring(["paramgen_late"]):
        import paramgen_later

        stub = sys.modules["paramgen_late"]
        with pytest.raises(ImportError, match="while it is deferred"):
            paramgen_later.use()
        with pytest.raises(AttributeError):
            _ = stub.__file__
    assert "paramgen_late" not in sys.modules
    assert paramgen_later.use() == 8
    assert stub.SEEN == 1 and sys.modules["paramgen_late"] is not stub


def test_what_is_imported_already_is_not_deferred() -> None:
    with light.deferring(["json"]):
        assert not isinstance(sys.modules["json"], light._Deferred)


def test_the_compiler_is_imported_with_the_first_thing_that_is_more_than_a_mark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = ModuleType("torch._dynamo")
    real.optimize = "real"  # type: ignore[attr-defined]
    monkeypatch.setattr("importlib.import_module", lambda name: {"torch._dynamo": real}[name])
    stub = light._Compiler()
    monkeypatch.setitem(sys.modules, "torch._dynamo", stub)
    assert stub.disable(print, True, wrapping=False) is print and stub.allow_in_graph()(len) is len
    assert sys.modules["torch._dynamo"] is stub
    with pytest.raises(AttributeError):
        _ = stub.__file__
    assert stub.optimize == "real" and sys.modules.get("torch._dynamo") is not stub
