"""The names that can be typed: architectures, initializers, modifiers, sources, and the hypernets that come along."""

import fnmatch
import json
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from paramgen.errors import OptionError, UnknownNameError
from paramgen.graphs.analysis.model_families import MODEL_FAMILIES, TEXT_FAMILIES
from paramgen.output.facts import definitions, first_line, initializer_facts, modifier_facts
from paramgen.registry import unknown_name
from paramgen.registry.aliases import ALIASES
from paramgen.registry.definitions import PREPARATION_PACKAGE, SOURCE_PACKAGE
from paramgen.registry.library_names import names_in
from paramgen.storage.digest import cached_sha256
from paramgen.storage.heads import listed_in
from paramgen.storage.pretrained import pretrained_folder

_KINDS = ("architectures", "hypernets", "initializers", "modifiers", "preparations", "sources")


def names_of(what: str, source: str | None, pattern: str | None = None) -> dict[str, str]:
    """Return names with a line about each; of a source, those that fit a pattern."""
    if what not in _KINDS:
        raise UnknownNameError.of("list", what, _KINDS, "Type: paramgen list architectures")
    if source is not None and what != "architectures":
        raise OptionError(f"{what} have no names below them; given was {source!r}. Type: paramgen list {what}")
    if what == "hypernets":
        return {name: _line(facts) for name, facts in hypernets().items()}
    if what == "initializers":
        return {name: each.sentence for name, each in initializer_facts().items()}
    if what == "modifiers":
        return {name: each.sentence for name, each in modifier_facts().items()}
    if what in ("preparations", "sources"):
        package = PREPARATION_PACKAGE if what == "preparations" else SOURCE_PACKAGE
        return {name: first_line(each.class_doc) for name, each in definitions(package).items()}
    if source is not None:
        return {f"{source}:{name}": "" for name in _fitting(source, _names_in(source), pattern)}
    return dict(sorted(ALIASES.items()))


def _names_in(source: str) -> Sequence[str]:
    """Return the names of a source: as its library's files have them, or else as the source itself says."""
    known = definitions(SOURCE_PACKAGE)
    if source not in known:
        raise unknown_name("architecture source", source, known)
    if source not in sys.modules and (names := names_in(source)):
        return sorted(names, key=_by_number) if source == "timm" else sorted(names)
    from paramgen.architectures import sources

    return sources.get(source)().names()


def _by_number(name: str) -> list[str | int]:
    """Return the key by which `resnet18` comes before `resnet101`, as timm lists them."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name.lower())]


def _fitting(source: str, names: Sequence[str], pattern: str | None) -> Sequence[str]:
    """Return the names that a pattern fits, where there is one: with `*` and `?`, or a part of the name."""
    if pattern is None:
        return names
    wanted = pattern.removeprefix(f"{source}:").lower()
    whole = wanted if set(wanted) & set("*?[") else f"*{wanted}*"
    found = [name for name in names if fnmatch.fnmatchcase(name.lower(), whole)]
    if not found:
        word = max(re.split(r"[*?[\]]+", wanted), key=len)
        hint = f"The pattern {pattern!r} fits none of them. Type: paramgen list architectures {source}"
        raise UnknownNameError.of(f"{source} architecture", word, names, hint)
    return found


def listed(what: str, source: str | None, pattern: str | None = None, *, facts: bool) -> Mapping[str, Any]:
    """Return names with a line about each; of all but architectures and sources, if requested, with facts."""
    if facts and source is None and what == "hypernets":
        return hypernets()
    if facts and source is None and what == "initializers":
        return {name: each.to_json() for name, each in initializer_facts().items()}
    if facts and source is None and what == "modifiers":
        return {name: each.to_json() for name, each in modifier_facts().items()}
    return names_of(what, source, pattern)


def hypernets() -> dict[str, dict[str, Any]]:
    """Return what ships by its name: what to type, what it is for, how large it is, what it was measured on."""
    found = {}
    for name, folder in pretrained().items():
        kind = "diffusion" if (folder / "model_index.json").is_file() else "hypernet"
        found[name] = {"init": f"{kind}:{name}", **known_of_shipped(folder), "parameters": elements_of(folder)}
    return found


@cache
def pretrained() -> dict[str, Path]:
    """Return the folders of what comes with paramgen, by name."""
    return {path.name: path for path in sorted(pretrained_folder().iterdir()) if (path / "README.md").is_file()}


def _line(facts: Mapping[str, Any]) -> str:
    """Return what a hypernet is for, its size, what it was measured on, and what to type."""
    measured = facts["measured"]
    families = measured.get("families", {}).values()
    networks = sum(each["networks"] for each in families)
    largest = max((each["largest"] for each in families), default=0)
    on = f" ({networks} networks of up to {largest:,} parameters)" if families else ""
    size, data = f"{facts['parameters']:,} parameters", f"measured on {', '.join(measured['data'])}{on}"
    return f"{facts['for']}; {size}; {data}; --init {facts['init']}"


def known_of_shipped(folder: Path) -> dict[str, Any]:
    """Return what is known of a folder that comes with paramgen, from its card and the table; empty for others."""
    if folder.resolve() != pretrained().get(folder.name, Path()).resolve():
        return {}
    from huggingface_hub import ModelCard

    card = ModelCard.load(folder / "README.md")
    title = next(line for line in card.text.splitlines() if line.startswith("# ")).partition(": ")[2]
    data = list(dict.fromkeys(str(result.dataset_name) for result in card.data.eval_results or ()))
    weights = folder / "model.safetensors"
    families = _reach(cached_sha256(weights)) if weights.is_file() else {}
    return {"for": title, "measured": {"data": data, **({"families": families} if families else {})}}


def _reach(digest: str) -> dict[str, dict[str, int]]:
    """Return the families on which `auto` measured a shipped hypernet: how many small networks, and the largest.

    The table is read as it stands in its file: to import `auto` is to import torch.
    """
    table = json.loads((files("paramgen") / "initializers" / "measured.json").read_text(encoding="utf-8"))
    first = {family: table["families"][family][0] for family in MODEL_FAMILIES}
    known = {name for name, sha256 in table["hypernets"].items() if sha256 == digest}
    return {
        family: {"networks": len(each["networks"]), "largest": each["largest"]}
        for family, each in first.items()
        if each["networks"] and ("text" if family in TEXT_FAMILIES else "vision") in known
    }


def elements_of(folder: Path) -> int:
    """Count the elements of all weights of a folder by their files' heads."""
    return sum(each.elements for file in sorted(folder.rglob("*.safetensors")) for each in listed_in(file))
