"""What a package registers, read off its files: none of them is imported.

A file that registers a class is called like the name it registers, and what a listing says of the class stands in it as
plain text and constants.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, final

INITIALIZER_PACKAGE: Final = "paramgen.initializers"
MODIFIER_PACKAGE: Final = "paramgen.modifiers"
SOURCE_PACKAGE: Final = "paramgen.architectures"
PREPARATION_PACKAGE: Final = "paramgen.preparation"
MEASURE_PACKAGE: Final = "paramgen.diagnosis"
"""The packages whose names people type."""

_REGISTERS: Final = re.compile(r"^@\w+\.register\(", re.M)


@final
@dataclass(frozen=True, kw_only=True)
class Definition:
    """What the file of a registered class says of it.

    Args:
        module_doc: The file's docstring.
        class_doc: The class's docstring.
        constants: Constants that the class gives its attributes, or inherits.

    """

    module_doc: str
    class_doc: str
    constants: Mapping[str, Any]


@cache
def registered_in(package: str) -> Mapping[str, Path]:
    """Return the file of each name that the files of a package register.

    Raises:
        ModuleNotFoundError: There is no such package.
    """
    files = sorted(_folder(package).glob("*.py"))
    return {file.stem: file for file in files if _REGISTERS.search(file.read_text(encoding="utf-8"))}


@cache
def has_plugins(package: str) -> bool:
    """Whether an installed package adds names of its own, by an entry point of the group called like `package`."""
    return bool(entry_points(group=package))


def definition_of(package: str, name: str) -> Definition:
    """Read what `name` is off the file of `package` that registers it."""
    tree = _parsed(registered_in(package)[name])
    kind = next(each for each in tree.body if isinstance(each, ast.ClassDef) and _registers(each))
    return Definition(
        module_doc=ast.get_docstring(tree) or "",
        class_doc=ast.get_docstring(kind) or "",
        constants=_constants(tree, kind),
    )


def _registers(kind: ast.ClassDef) -> bool:
    return any(ast.unparse(each).partition("(")[0].endswith(".register") for each in kind.decorator_list)


def _constants(tree: ast.Module, kind: ast.ClassDef) -> dict[str, Any]:
    """Return the constants of a class; those of its bases are read off the files that it imports them from."""
    found: dict[str, Any] = {}
    for base in reversed(kind.bases):
        for where, inherited in _classes(tree, ast.unparse(base)):
            found |= _constants(where, inherited)
    for statement in kind.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.value, ast.Constant):
            found[ast.unparse(statement.target)] = statement.value.value
    return found


def _classes(tree: ast.Module, name: str) -> Iterator[tuple[ast.Module, ast.ClassDef]]:
    """Yield the class that a file calls `name`, and the file that has it; nothing for a class of another library."""
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            yield tree, statement
        elif isinstance(statement, ast.ImportFrom) and any(each.name == name for each in statement.names):
            module = statement.module or ""
            if module.partition(".")[0] == __name__.partition(".")[0]:
                yield from _classes(_parsed(_file(module)), name)


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _file(module: str) -> Path:
    above, _, name = module.rpartition(".")
    file = _folder(above) / f"{name}.py"
    return file if file.is_file() else file.with_suffix("") / "__init__.py"


def _folder(package: str) -> Path:
    """Return the folder of a package, of which nothing is imported but what it lies in."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"No package named {package!r}", name=package)
    return Path(next(iter(found.submodule_search_locations)))
