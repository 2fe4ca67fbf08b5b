"""Registries: classes by name, and the one grammar of specs, `kind:argument`."""

import importlib
import pkgutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from paramgen.errors import UnknownNameError

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
    """Classes by name: a name is a module of `package`, or an entry point of the group called like the package."""

    def __init__(self, kind: str, package: str) -> None:
        self._kind = kind
        self._package = package
        self._classes: dict[str, type[T]] = {}
        self._loaded = self._loading = False
        self._alone = threading.RLock()

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Give the decorated class its name."""

        def keep(registered: type[T]) -> type[T]:
            self._classes[name] = registered
            return registered

        return keep

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        self._load()
        return sorted(self._classes)

    def get(self, name: str) -> type[T]:
        """Return the class called `name`, or raise an `UnknownNameError` that offers the nearest."""
        self._load()
        if name not in self._classes:
            plural = f"{self._kind.split()[-1]}s"  # `architecture source`: paramgen list sources
            raise UnknownNameError.of(self._kind, name, self._classes, f"Type: paramgen list {plural}")
        return self._classes[name]

    def _load(self) -> None:
        if self._loaded:
            return
        with self._alone:  # who comes second would find half of the names
            if self._loaded or self._loading:  # by now; or a module asks that is itself being imported
                return
            self._loading = True
            try:
                self._import()
                self._loaded = True
            finally:
                self._loading = False

    def _import(self) -> None:
        folder = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(folder.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        for entry in entry_points(group=self._package):
            entry.load()
