"""What there is: the names that can be typed, and what a folder or an architecture is."""

import fnmatch
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paramgen.errors import ArchitectureError, OptionError, UnknownNameError

_KINDS = ("architectures", "initializers", "sources")


def names_of(what: str, source: str | None, pattern: str | None = None) -> dict[str, str]:
    """Return names with a line about each; of a source, those that fit a pattern."""
    if what not in _KINDS:
        raise UnknownNameError.of("list", what, _KINDS, "Type: paramgen list architectures")
    if source is not None and what != "architectures":
        raise OptionError(f"{what} have no names below them; given was {source!r}. Type: paramgen list {what}")
    if what == "initializers":
        from paramgen.initializers import initializers

        return {name: _first_line(initializers.get(name)) for name in initializers.names()}
    from paramgen.architectures import sources

    if what == "sources":
        return {name: _first_line(sources.get(name)) for name in sources.names()}
    if source is not None:
        return {f"{source}:{name}": "" for name in _fitting(source, sources.get(source)().names(), pattern)}
    from paramgen.architectures.aliases import ALIASES

    return dict(sorted(ALIASES.items()))


def _fitting(source: str, names: Sequence[str], pattern: str | None) -> Sequence[str]:
    """Return the names that a pattern fits, where there is one: with `*` and `?`, or a part of the name."""
    if pattern is None:
        return names
    asked = pattern.removeprefix(f"{source}:").lower()
    whole = asked if set(asked) & set("*?[") else f"*{asked}*"
    found = [name for name in names if fnmatch.fnmatchcase(name.lower(), whole)]
    if not found:
        word = max(re.split(r"[*?[\]]+", asked), key=len)
        hint = f"The pattern {pattern!r} fits none of them. Type: paramgen list architectures {source}"
        raise UnknownNameError.of(f"{source} architecture", word, names, hint)
    return found


def describe_anything(what: str) -> dict[str, Any]:
    """Describe a predicted folder, a hypernet's folder or an architecture."""
    from paramgen.architectures import read_config
    from paramgen.checking import read_report

    folder = Path(what)
    if folder.is_dir() and (record := read_report(folder)):
        return {key: value for key, value in record.items() if key not in ("tensors", "tied")}
    if (folder / "config.json").is_file():
        config = read_config(folder)
        if "encoder" in config and "decoder" in config:
            return _hypernet(folder)
    elif folder.is_dir():
        raise ArchitectureError(f"{what!r} is a folder without config.json; nothing is known about it.")
    from paramgen.api import graph
    from paramgen.graphs.slot_roles import elements_by_role

    architecture, traced = graph(what)
    manifest = architecture.manifest
    return {
        "spec": architecture.spec,
        "parameters": manifest.parameters,
        "elements": manifest.elements,
        "slots": len(manifest),
        "tied": {slot.name: slot.tied_to for slot in manifest.values() if slot.tied_to is not None},
        "nodes": len(traced),
        "edges": len(traced.edges),
        "traced_by": traced.traced_by,
        "trace_failures": list(traced.failures),
        "unreachable": traced.unreachable(),
        "by_role": dict(elements_by_role(traced, manifest)),
        "weights_file": architecture.layout.weights_file,
    }


def _hypernet(folder: Path) -> dict[str, Any]:
    from paramgen.hypernets.loading import load

    hypernet = load(str(folder))
    return {
        "hypernet": str(folder),
        "parameters": sum(parameter.numel() for parameter in hypernet.parameters()),
        "sha256": hypernet.sha256,
        "config": hypernet.config.to_json(),
    }


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]
