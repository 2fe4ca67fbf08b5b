"""Registries: classes by name, and the one grammar of specs, `kind:argument`."""

import importlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from paramgen.errors import UnknownNameError
from paramgen.registry.definitions import has_plugins, registered_in

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spec:
    """`kind:argument`, as in `timm:resnet50` or `hypernet:path/to/folder`; the argument may be empty."""

    kind: str
    argument: str

    @classmethod
    def parse(cls, text: str) -> "Spec":
        """Split at the first colon."""
        kind, _, argument = text.partition(":")
        return cls(kind, argument)

    def __str__(self) -> str:
        return f"{self.kind}:{self.argument}" if self.argument else self.kind


class Registry(Generic[T]):
    """Classes by name: a name is a module of `package`, or an entry point of the group called like the package.

    The module is imported when its class is asked for, and no other.
    """

    def __init__(self, kind: str, package: str) -> None:
        self._kind = kind
        self._package = package
        self._classes: dict[str, type[T]] = {}
        self._plugged = self._plugging = False
        self._alone = threading.RLock()

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Give the decorated class its name."""

        def keep(registered: type[T]) -> type[T]:
            self._classes[name] = registered
            return registered

        return keep

    def names(self) -> list[str]:
        """Every registered name, sorted; of the package itself, no module is imported for it."""
        self._load_plugins()
        return sorted({*registered_in(self._package), *self._classes})

    def get(self, name: str) -> type[T]:
        """Return the class called `name`, or raise an `UnknownNameError` that offers the nearest."""
        if name not in self._classes:
            if name in registered_in(self._package):
                importlib.import_module(f"{self._package}.{name}")
            else:
                self._load_plugins()
        if name not in self._classes:
            raise unknown_name(self._kind, name, self.names())
        return self._classes[name]

    def _load_plugins(self) -> None:
        if self._plugged or not has_plugins(self._package):
            return
        with self._alone:  # who comes second would find half of the names
            if self._plugged or self._plugging:  # by now; or a plugin asks that is itself being imported
                return
            self._plugging = True
            try:
                for entry in entry_points(group=self._package):
                    entry.load()
                self._plugged = True
            finally:
                self._plugging = False


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Return the error for a name that no class of this kind has; it offers the nearest."""
    plural = f"{kind.split()[-1]}s"  # `architecture source`: paramgen list sources
    return UnknownNameError.of(kind, name, known, f"Type: paramgen list {plural}")
