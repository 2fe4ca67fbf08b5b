"""Libraries imported without what a command does not use, in a process that is the command line's own.

Importing a model of transformers imports PyTorch's compiler, its distributed tensors, scipy and torchvision's networks,
which takes longer than everything else that a prediction does. Where somebody calls paramgen from Python, libraries are
imported as they are: what is deferred here might be what his own code looks for.
"""

import gc
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final, final

_COLLECTIONS: Final = (50_000, 20, 100)
"""How often garbage is looked for: by default so often that it takes a third of the time of importing libraries."""

COMPILER_PARTS: Final = ("torch._dynamo.utils", "torch._dynamo._trace_wrapped_higher_order_op")
"""Of PyTorch's compiler, what libraries take names from that they only call later."""

_COMPILER: Final = "torch._dynamo"
_SETTINGS: Final = f"{_COMPILER}.config"  # which need nothing else of it
_MARKS: Final = ("allow_in_graph", "assume_constant_result", "disable")

_owned: Final[list[bool]] = []  # not empty where the process is the command line's own


def own_process() -> None:
    """Say that this process is the command line's own, before libraries are imported."""
    gc.set_threshold(*_COLLECTIONS)
    if _COMPILER not in sys.modules:
        sys.modules[_COMPILER] = _Compiler()
        sys.meta_path.insert(0, _CompilerFinder())
    _owned.append(True)


def is_own_process() -> bool:
    """Whether `own_process` was called."""
    return bool(_owned)


@contextmanager
def deferring(modules: Sequence[str]) -> Iterator[None]:
    """Let what is imported inside take functions and classes from modules that are only imported when these are called.

    Only names are taken from them inside: nothing may be derived from a class, and no constant be looked at. Modules
    that were imported before are left alone.
    """
    stubs = {name: _Deferred(name) for name in modules if name not in sys.modules}
    sys.modules.update(stubs)
    try:
        yield
    finally:
        for name, stub in stubs.items():
            if sys.modules.get(name) is stub:
                del sys.modules[name]
            stub.here = True


@final
class _Deferred(ModuleType):
    """Stands for a module: inside `deferring` for names that import it when they are called, afterwards for itself."""

    here = False  # whether the module may be imported by now

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name) if self.here else self._called_later(name)

    def _called_later(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not self.here:
                raise ImportError(f"{self.__name__}.{name} is used while it is deferred")
            return getattr(self, name)(*args, **kwargs)

        return call


@final
class _Compiler(ModuleType):
    """Stands for PyTorch's compiler, which functions are marked for, until anything else of it is used."""

    def __init__(self) -> None:
        super().__init__(_COMPILER)
        self.__path__ = []
        vars(self).update(dict.fromkeys(_MARKS, _as_it_is))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_compiler(), name)


@final
class _CompilerFinder(MetaPathFinder):
    """Imports PyTorch's compiler when a module of it is imported."""

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        """Return where a module of the compiler is, once the compiler itself is imported; None for all others."""
        if not name.startswith(f"{_COMPILER}.") or not isinstance(sys.modules.get(_COMPILER), _Compiler):
            return None
        if name == _SETTINGS:
            return PathFinder.find_spec(name, [f"{folder}/_dynamo" for folder in sys.modules["torch"].__path__])
        _compiler()
        return ModuleSpec(name, _Loaded()) if name in sys.modules else find_spec(name)


@final
class _Loaded(Loader):
    """Loads what was loaded meanwhile."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module that is there."""
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: it has run."""


def _compiler() -> ModuleType:
    """Import PyTorch's compiler in place of what stands for it."""
    if isinstance(sys.modules.get(_COMPILER), _Compiler):
        del sys.modules[_COMPILER]
    return importlib.import_module(_COMPILER)


def _as_it_is(function: Any = None, *_: Any, **__: Any) -> Any:
    return function if function is not None else lambda wrapped: wrapped
