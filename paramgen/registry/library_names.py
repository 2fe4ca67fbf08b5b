"""The names that the installed libraries know, read off their files: none of them is imported.

They serve to say what a mistyped name may have meant, at once. Whether a name exists is for the library to say.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_REGISTERED: Final = re.compile(
    r"^@register_model(?:\((?:name=\"(?P<name>\w+)\")?.*\))?\s*\n(?:[^d].*\n)*?def (?P<function>\w+)", re.M
)
_DIFFUSERS: Final = re.compile(r"^ +\"(\w+Model|Autoencoder\w*)\",$", re.M)
_MAPPINGS: Final = ("MODEL_MAPPING_NAMES", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES")


def names_in(library: str) -> frozenset[str]:
    """Return what `source:name` may name of a library; nothing where it is absent or not as expected."""
    read = _READERS.get(library)
    with suppress(ImportError, ValueError, OSError, SyntaxError):
        found = find_spec(library)
        if read is not None and found is not None and found.submodule_search_locations:
            return frozenset(read(Path(next(iter(found.submodule_search_locations)))))
    return frozenset()


def is_diffusers_model(name: str) -> bool:
    """Whether a name that diffusers exports is that of a network, and not of what holds or finds networks."""
    if name.startswith(("_", "Flax", "Multi")) or name in ("AutoModel", "EMAModel", "OnnxRuntimeModel"):
        return False
    return name.endswith("Model") or name.startswith("Autoencoder")


def mentions(library: str, name: str) -> bool:
    """Whether the files of timm or torchvision may name a network so: as a function or in quotes, be it an old name."""
    name = name.partition(".")[0]  # what follows are weights
    called = re.compile(rf"\b{re.escape(name)}\b")
    found = find_spec(library)
    folders = () if found is None else found.submodule_search_locations or ()
    return any(called.search(text) for folder in folders for text in _texts(Path(folder)))


def _registered(folder: Path) -> Iterator[str]:
    """Yield the functions that are registered as models in the files of timm or torchvision."""
    for text in _texts(folder):
        for found in _REGISTERED.finditer(text):
            yield found["name"] or found["function"]


@cache
def _texts(folder: Path) -> tuple[str, ...]:
    """Return the files of a library that name its networks."""
    return tuple(file.read_text(encoding="utf-8") for file in sorted((folder / "models").rglob("*.py")))


def _of_diffusers(folder: Path) -> Iterator[str]:
    text = (folder / "__init__.py").read_text(encoding="utf-8")
    yield from filter(is_diffusers_model, (found[1] for found in _DIFFUSERS.finditer(text)))


def _of_transformers(folder: Path) -> Iterator[str]:
    """Yield the model types in the tables of the automatic classes."""
    text = (folder / "models" / "auto" / "modeling_auto.py").read_text(encoding="utf-8")
    for statement in ast.parse(text).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else ()
        if any(isinstance(target, ast.Name) and target.id in _MAPPINGS for target in targets):
            pairs = (each for table in ast.walk(statement) if isinstance(table, ast.List) for each in table.elts)
            yield from (str(ast.literal_eval(pair)[0]) for pair in pairs if isinstance(pair, ast.Tuple))


_READERS: Final[Mapping[str, Callable[[Path], Iterator[str]]]] = {
    "diffusers": _of_diffusers,
    "timm": _registered,
    "torchvision": _registered,
    "transformers": _of_transformers,
}
