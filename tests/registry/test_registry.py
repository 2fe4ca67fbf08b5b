"""Names of a registry, whoever asks first and however many ask at once."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from paramgen.registry import Registry


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


def test_every_thread_finds_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    registry: Registry[Any] = Registry("initializer", "paramgen.initializers")

    def slowly(self: Registry[Any]) -> None:
        self.register("first")(int)
        time.sleep(0.1)
        assert registry.names() == ["first"]  # a module that asks while it is imported does not wait for itself
        self.register("last")(str)

    monkeypatch.setattr(Registry, "_import", slowly)
    every = ["first", "last"]
    assert together(registry.names, lambda: registry.get("last"), registry.names) == [every, str, every]


def test_a_failed_import_fails_again() -> None:
    registry: Registry[Any] = Registry("initializer", "no.such.package")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            registry.names()
