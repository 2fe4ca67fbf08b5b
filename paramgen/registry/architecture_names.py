"""Names of architectures that nothing is called by: refused before a library is imported, with what they may mean."""

import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

from paramgen.errors import OptionError, UnknownNameError
from paramgen.registry import Spec
from paramgen.registry.aliases import ALIASES
from paramgen.registry.library_names import mentions, names_in
from paramgen.registry.overrides import split_spec

_BY_NAME_ALONE: Final = ("timm", "torchvision")
"""Libraries whose networks are named in their files, and by no path, repository or class."""


def refuse_unknown_name(spec: str, sources: Collection[str]) -> None:
    """Raise an error for a name that names nothing; what only a library can know passes.

    Args:
        spec: What was typed: a bare word, or a source and a name in it.
        sources: The names of the sources.

    Raises:
        UnknownNameError: It names nothing.
        OptionError: It names a source and no network.

    """
    bare = split_spec(spec)[0]
    if (
        re.fullmatch(r"[\w.-]*", bare)
        and bare not in ALIASES
        and not bare.endswith((".json", ".py"))
        and not _is_there(bare)
    ):
        raise unknown_architecture(bare, sources)
    parsed = Spec.parse(split_spec(ALIASES.get(bare, bare))[0])
    if parsed.kind in _BY_NAME_ALONE and parsed.kind not in sys.modules:
        names = names_in(parsed.kind)
        if parsed.argument and names and not mentions(parsed.kind, parsed.argument):
            raise unknown_in(parsed.kind, parsed.argument, names)


def unknown_in(source: str, name: str, names: Collection[str]) -> UnknownNameError:
    """Return the error for a name that a source does not know; it offers the nearest of its `names`."""
    return UnknownNameError.of(f"{source} architecture", name, names, f"Type: paramgen list architectures {source}")


def unknown_architecture(spec: str, sources: Collection[str]) -> UnknownNameError | OptionError:
    """Return the error for a spec that names nothing; what libraries know is read off their files, not imported."""
    parsed = Spec.parse(spec)
    if parsed.argument:
        file = Path(f"{parsed.kind}.py")
        hint = f"Type: --arch {file}:{parsed.argument}" if file.is_file() else "Type: paramgen list sources"
        return UnknownNameError.of("architecture source", parsed.kind, sources, hint)
    if parsed.kind in sources:
        return OptionError(f"{spec!r} names a source but no network. Type: paramgen list architectures {parsed.kind}")
    known = {kind: names_in(kind) for kind in sources}
    if found := [f"{kind}:{spec}" for kind, names in known.items() if spec in names]:
        return UnknownNameError(f"Unknown architecture {spec!r}. Did you mean {' or '.join(map(repr, found))}?")
    return UnknownNameError.of("architecture", spec, ALIASES, "Type: paramgen list architectures")


def _is_there(name: str) -> bool:
    try:
        return bool(name) and Path(name).exists()
    except OSError:  # too long for a path
        return False
