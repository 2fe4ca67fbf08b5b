"""Names of a registry, whoever asks first and however many ask at once."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from paramgen.errors import UnknownNameError
from paramgen.registry import Registry, definitions

PACKAGE = "paramgen.initializers"


def together(*works: Callable[[], Any]) -> list[Any]:
    found: list[Any] = [None] * len(works)

    def keep(place: int) -> None:
        found[place] = works[place]()

    threads = [threading.Thread(target=keep, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


class Plugin:
    """An entry point whose module registers two names, and asks for names in between."""

    def __init__(self, registry: Registry[Any]) -> None:
        self.registry = registry

    def load(self) -> None:
        self.registry.register("first")(int)
        time.sleep(0.1)
        found = self.registry.names()  # a module that asks while it is imported does not wait for itself
        assert "first" in found and "last" not in found
        self.registry.register("last")(str)


def test_every_thread_finds_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    registry: Registry[Any] = Registry("initializer", PACKAGE)
    monkeypatch.setattr("paramgen.registry.has_plugins", lambda package: package == PACKAGE)
    monkeypatch.setattr("paramgen.registry.entry_points", lambda group: [Plugin(registry)] if group == PACKAGE else [])
    every, one, again = together(registry.names, lambda: registry.get("last"), registry.names)
    assert every == again and {"first", "last", "he", "library"} <= set(every) and one is str


def test_a_failed_import_fails_again() -> None:
    registry: Registry[Any] = Registry("initializer", "no.such.package")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            registry.names()


def test_an_installed_package_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    definitions.has_plugins.cache_clear()
    entry = EntryPoint(name="own", value="own:Own", group=PACKAGE)
    monkeypatch.setattr(definitions, "entry_points", lambda group: [entry] if group == PACKAGE else [])
    assert definitions.has_plugins(PACKAGE) and not definitions.has_plugins("paramgen.modifiers")
    definitions.has_plugins.cache_clear()


def test_an_unknown_name_offers_the_nearest() -> None:
    registry: Registry[Any] = Registry("initializer", PACKAGE)
    with pytest.raises(UnknownNameError, match=r"Unknown initializer 'hee'. Did you mean 'he' .*list initializers"):
        registry.get("hee")


def test_a_class_is_imported_when_it_is_asked_for_and_no_other() -> None:
    program = (
        "import sys\nfrom paramgen.initializers import initializers\n"
        "names = set(initializers.names())\n"
        "assert {'he', 'lsuv', 'inherit'} <= names\n"
        "before = {name for name in names if f'paramgen.initializers.{name}' in sys.modules}\n"
        "assert initializers.get('natural').__name__\n"
        "after = {name for name in names if f'paramgen.initializers.{name}' in sys.modules}\n"
        "print(*sorted(after - before), *before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["library", "natural"]  # the default values of what it does not fill
