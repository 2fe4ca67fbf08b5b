"""A user's own Python code: the only place that imports any, as `python file.py` and `python -m package.module` do.

The modules of one file get names of their own below `paramgen_own_<digest>`, into which the import statements of that
code, and no others, look. So a user's `utils` or `timm` is taken neither for an installed package nor for that of
another file, and the interpreter's search path stays as it is.
"""

import builtins
import importlib
import re
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location, spec_from_loader
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any, Final, final

from paramgen.errors import ArchitectureError, one_line
from paramgen.storage.digest import file_sha256

_PREFIX: Final = "paramgen_own_"
_DOTTED: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
_ADVICE: Final = "Type: paramgen predict --arch path/to/file.py:factory"


@final
@dataclass(frozen=True, kw_only=True)
class UserCode:
    """One module of a user's, and where the names that it imports begin."""

    root: Path  # the folder that `module` begins in
    file: Path
    module: str  # its dotted name, seen from `root`
    typed: str  # what a user named it by
    installed: bool = False

    @cached_property
    def prefix(self) -> str:
        """What the names of all its modules begin with; the same for the same file, as graphs are kept by it."""
        if self.installed:
            return self.module.partition(".")[0]
        return _PREFIX + sha256(f"{self.file}\0{self.root}".encode()).hexdigest()[:12]

    @property
    def shown(self) -> str:
        """The module as one types it from its root: a path, or a dotted name where it is installed."""
        return self.module if self.installed else self.file.relative_to(self.root).as_posix()

    def load(self, *, again: bool = True) -> ModuleType:
        """Run the module, and what it imports of the user's own anew; or not `again`, if no file has changed since.

        Raises:
            ArchitectureError: It does not import, for whatever reason; with the line that is at fault.

        """
        held = self.prefix in _HELD
        _HELD.discard(self.prefix)
        if (held or not again) and self._is_current:
            return sys.modules[f"{self.prefix}.{self.module}"]
        importlib.invalidate_caches()
        try:
            with self.running():
                module = importlib.import_module(self.module) if self.installed else self._run()
            self.digests()
            return module
        except (Exception, SystemExit) as error:  # a user's file may raise anything
            raise ArchitectureError(
                f"{self.typed} does not import: {self.reason(error)}. Try: {self._trial}"
            ) from error

    def hold(self) -> None:
        """Have the next `load` take the module that was just run, if no file changes in between."""
        _HELD.add(self.prefix)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let `importlib.import_module`, too, find the user's own modules, where nothing installed has the name."""
        finder = _ByName(self)
        if not self.installed:
            sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            if finder in sys.meta_path:
                sys.meta_path.remove(finder)
            for name in finder.found:
                sys.modules.pop(name, None)

    def reason(self, error: BaseException) -> str:
        """Return what went wrong in one line, and the last line of the user's own code that took part."""
        said = str(error).replace(f"{self.prefix}.", "") if not self.installed else str(error)
        text = f"{type(error).__name__}: {one_line(said)}".rstrip(".")
        return text if isinstance(error, SyntaxError) else text + self.line_of(error)

    def line_of(self, error: BaseException) -> str:
        """Return ` (file.py, line 12)`: the user's own line that led to `error`; empty where none did."""
        place = ""
        for frame, line in walk_tb(error.__traceback__):
            name = frame.f_globals.get("__name__") or ""
            file = Path(frame.f_code.co_filename)
            if (name == self.prefix or name.startswith(f"{self.prefix}.")) and file.is_relative_to(self.root):
                place = f" ({file.relative_to(self.root).as_posix()}, line {line})"
        return place

    def digests(self) -> dict[str, str]:
        """Return the sha256 of each file of the user's own that was imported, by its path below the root."""
        files = [self.file, *(() if self.installed else self._imported())]
        found = {file.relative_to(self.root).as_posix(): digest_of(file) for file in files}
        _DIGESTS[self.prefix] = found
        return found

    def holds(self, name: str) -> bool:
        """Whether a top-level name means a module of the user's in this code.

        As `python file.py` does, a script takes what is beside it first, and a package itself; what else is beside
        a package, or without an `__init__.py`, yields to what is installed.
        """
        found = PathFinder.find_spec(name, self.places(name))
        if found is None:
            return False
        if self._packaged:
            first = name == self.module.partition(".")[0]
        else:
            first = found.origin is not None and Path(found.origin) != self.file
        return first or not _is_elsewhere(name)

    def places(self, name: str) -> list[str]:
        """Return the folders in which a top-level name is looked for."""
        if not self._packaged:
            return [str(self.root)]
        if name == self.module.partition(".")[0]:
            return [str(self.root)]
        shared = self.root.stat().st_mode & stat.S_IWOTH  # anybody could put a module there
        return [*([] if shared else [str(self.root)]), str(self.file.parent)]

    def _imported(self) -> list[Path]:
        """Return the files of all modules of the user's own that were run."""
        loaded = [module for name, module in sys.modules.copy().items() if name.startswith(f"{self.prefix}.")]
        return sorted(Path(file) for module in loaded if (file := getattr(module, "__file__", None)))

    @property
    def _is_current(self) -> bool:
        """Whether the module is in memory, and all that it imported, and every file as it was then."""
        known = _DIGESTS.get(self.prefix, {})
        if self.installed or f"{self.prefix}.{self.module}" not in sys.modules:
            return False
        if {self.root / below for below in known} != {self.file, *self._imported()}:
            return False
        return all((self.root / below).is_file() and digest_of(self.root / below) == known[below] for below in known)

    @property
    def _packaged(self) -> bool:
        return "." in self.module or self.file.name == "__init__.py"

    @property
    def _trial(self) -> str:
        return f"python -m {self.module} in {self.root}" if self._packaged else f"python {self.typed}"

    def _run(self) -> ModuleType:
        for name in [name for name in sys.modules if name == self.prefix or name.startswith(f"{self.prefix}.")]:
            del sys.modules[name]
        if _FINDER not in sys.meta_path:
            sys.meta_path.insert(0, _FINDER)
        _CODES[self.prefix] = self
        above = ModuleType(self.prefix)
        above.__path__ = [str(self.root), str(self.file.parent)]
        sys.modules[self.prefix] = above
        name = f"{self.prefix}.{self.module}"
        if self._packaged:
            return importlib.import_module(name)
        loader = _OwnLoader(name, str(self.file))
        spec = spec_from_file_location(name, self.file, loader=loader)
        assert spec is not None
        module = module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        try:
            loader.exec_module(module)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        return module


def is_code(name: str) -> bool:
    """Whether `name` is spelled as code is: `file.py:factory` or `package.module:factory`."""
    path, _, _ = name.rpartition(":")
    return path.endswith(".py") or name.endswith(".py") or _DOTTED.fullmatch(path) is not None


def find_code(name: str) -> UserCode:
    """Return the code that `path/to/file.py` or `package.module` names; nothing is run.

    A package is sought among what is installed, then in the current folder.
    """
    return _of_file(Path(name)) if name.endswith(".py") else _of_name(name)


def recorded_code(path: str, root: Path | None) -> UserCode | None:
    """Return the code that a record names, `path` below `root`; None if it is not there."""
    if not path.endswith(".py"):
        return _installed(path)
    if root is None and Path(path).is_absolute():  # as folders said before folders were remembered
        return _of_file(Path(path)) if Path(path).is_file() else None
    if root is None or not (root / path).is_file():
        return None
    names = Path(path).with_suffix("").parts
    module = ".".join(names[:-1] if names[-1] == "__init__" else names)
    return UserCode(root=root, file=root / path, module=module, typed=str(root / path))


def digest_of(file: Path) -> str:
    """Return the sha256 of a file."""
    return file_sha256(file)


def _of_file(file: Path) -> UserCode:
    if not file.is_file():
        raise ArchitectureError(f"There is no file {str(file)!r}. {_ADVICE}")
    typed, file = str(file), file.resolve()
    root, names = file.parent, [] if file.name == "__init__.py" else [file.stem]
    while (root / "__init__.py").is_file() and root != root.parent:
        root, names = root.parent, [root.name, *names]
    if len(names) == 1:
        names = [re.sub(r"\W", "_", name) for name in names]
    return UserCode(root=root, file=file, module=".".join(names), typed=typed)


def _of_name(name: str) -> UserCode:
    code, here = _installed(name), Path.cwd().resolve()
    found = _found(name, [PathFinder], [str(here)])
    if code is not None and (found is None or code.file != found):
        return code
    if found is None:
        raise ArchitectureError(
            f"There is no module {name!r}, neither installed nor in the current folder. Type: --arch "
            "package.module:factory where the package is, or --arch path/to/file.py:factory"
        )
    return UserCode(root=here, file=found, module=name, typed=name)


def _installed(name: str) -> UserCode | None:
    file = _found(name, _others(), None)
    if file is None:
        return None
    inner = len(name.split(".")) - (file.name != "__init__.py")
    return UserCode(root=file.parents[inner], file=file, module=name, typed=name, installed=True)


def _found(name: str, finders: Sequence[Any], places: list[str] | None) -> Path | None:
    """Return the file of a dotted name, of which no package is imported; None if there is none."""
    found: ModuleSpec | None = None
    for part in name.split("."):
        specs = (finder.find_spec(part, places) for finder in finders)
        found = next((spec for spec in specs if spec is not None), None)
        if found is None:
            return None
        # Below its first name a package is found by its folders alone, even if an installation has a finder of its own.
        finders, places = [PathFinder], list(found.submodule_search_locations or ())
    return Path(found.origin).resolve() if found is not None and found.has_location and found.origin else None


def _others() -> list[Any]:
    """Return the interpreter's finders without ours."""
    return [
        finder
        for finder in sys.meta_path
        if not isinstance(finder, (_BelowPrefix, _ByName)) and hasattr(finder, "find_spec")
    ]


def _is_elsewhere(name: str) -> bool:
    if name in sys.modules or name in sys.stdlib_module_names:
        return True
    return any(finder.find_spec(name, None) is not None for finder in _others())


@final
class _OwnLoader(SourceFileLoader):
    """Runs a file of a user's, whose import statements find his other files."""

    def exec_module(self, module: ModuleType) -> None:
        code = _CODES[module.__name__.partition(".")[0]]
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _statement(code)}
        super().exec_module(module)

    def path_stats(self, path: Any) -> Mapping[str, Any]:
        raise OSError("no bytecode is kept: it would stay in the user's folder, and be taken for a file just changed")


@final
class _BelowPrefix(MetaPathFinder):
    """Finds the modules below our own prefixes, and nothing else."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        prefix, _, rest = fullname.partition(".")
        code = _CODES.get(prefix)
        if code is None:
            return None
        found = PathFinder.find_spec(fullname, path if "." in rest else code.places(rest))
        if found is not None and isinstance(found.loader, SourceFileLoader):
            found.loader = _OwnLoader(fullname, found.loader.path)
        return found


@final
class _ByName(MetaPathFinder):
    """Finds the modules of one user's code by the names that they have there, while it runs."""

    def __init__(self, code: UserCode) -> None:
        self._code = code
        self.found: list[str] = []

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        top = fullname.partition(".")[0]
        if top not in self.found and (not self._code.holds(top) or _is_elsewhere(top)):
            return None
        name = f"{self._code.prefix}.{fullname}"
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name == name:
                return None
            raise
        self.found.append(fullname)
        return spec_from_loader(fullname, _Known(module))


@final
class _Known(Loader):
    """Gives out a module that was run before."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


_CODES: Final[dict[str, UserCode]] = {}
_DIGESTS: Final[dict[str, dict[str, str]]] = {}  # of the files of each, by prefix, when they were read last
_HELD: Final[set[str]] = set()
_FINDER: Final = _BelowPrefix()


def _statement(code: UserCode) -> Callable[..., Any]:
    """Return the `__import__` that the import statements call of a user's code."""

    def import_(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        top = name.partition(".")[0]
        if level or not code.holds(top):
            return builtins.__import__(name, globals, locals, fromlist, level)
        own = f"{code.prefix}.{name}"
        module = importlib.import_module(own)
        if fromlist:
            return builtins.__import__(own, globals, locals, fromlist, 0)
        return sys.modules.get(f"{code.prefix}.{top}", module)

    return import_
