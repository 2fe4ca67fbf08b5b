"""What is known of each initializer and modifier without a network, read off its file: none of ours is imported."""

import inspect
import re
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, final

from paramgen.registry import Registry
from paramgen.registry.definitions import (
    INITIALIZER_PACKAGE,
    MODIFIER_PACKAGE,
    PREPARATION_PACKAGE,
    SOURCE_PACKAGE,
    Definition,
    definition_of,
    has_plugins,
    registered_in,
)

GROUPS: Final = ("chosen", "learned", "default", "formulas", "from a trained model", "controls", "others")
"""The kinds of initializers, in the order in which they are listed."""

_PAPER: Final = re.compile(r"\(([^()]*(?:19|20)\d\d[^()]*)\)")
_REGISTRIES: Final = {
    INITIALIZER_PACKAGE: "initializers",
    MODIFIER_PACKAGE: "modifiers",
    PREPARATION_PACKAGE: "preparations",
    SOURCE_PACKAGE: "sources",
}


@final
@dataclass(frozen=True, kw_only=True)
class InitializerFacts:
    """What is known of one initializer, or of a modifier, without a network."""

    group: str  # one of `GROUPS`, or `modifiers`
    sentence: str
    paper: str  # authors, year and number; empty where there is none
    applies_to: str
    runs_network: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "group": self.group,
            "for": self.sentence,
            "paper": self.paper,
            "applies_to": self.applies_to,
            "runs_network": self.runs_network,
        }


def initializer_facts() -> dict[str, InitializerFacts]:
    """Return what is known of every initializer, by its name, group after group."""
    found = {name: _facts(each) for name, each in definitions(INITIALIZER_PACKAGE).items()}
    order = {group: index for index, group in enumerate(GROUPS)}
    return dict(sorted(found.items(), key=lambda item: (order[item[1].group], item[0])))


def modifier_facts() -> dict[str, InitializerFacts]:
    """Return what is known of every modifier, by its name."""
    return {name: _facts(each, group="modifiers") for name, each in definitions(MODIFIER_PACKAGE).items()}


def definitions(package: str) -> dict[str, Definition]:
    """Return what is known of every name that is registered, in `package`, by a plugin, or by who runs this."""
    found = {name: definition_of(package, name) for name in registered_in(package)}
    if package in sys.modules or has_plugins(package):
        registry: Registry[Any] = getattr(import_module(package), _REGISTRIES[package])
        found |= {name: _of_class(registry.get(name)) for name in registry.names() if name not in found}
    return {name: found[name] for name in sorted(found)}


def _of_class(kind: type) -> Definition:
    """Return what is known of a class that no file here registers."""
    attributes = ("group", "applies_to", "runs_network")
    return Definition(
        module_doc=inspect.getdoc(sys.modules[kind.__module__]) or "",
        class_doc=kind.__doc__ or "",
        constants={name: getattr(kind, name) for name in attributes if hasattr(kind, name)},
    )


def first_line(text: str) -> str:
    """Return the first line of a docstring."""
    return text.strip().partition("\n")[0]


def _facts(known: Definition, *, group: str = "") -> InitializerFacts:
    """Take the paper from the first sentence of the file, and all else from the class."""
    first, *others = known.module_doc.split("\n\n")
    paper = _PAPER.search(first)
    number = re.search(r"arXiv:\d{4}\.\d{4,5}", first) or re.search(r"arXiv:\d{4}\.\d{4,5}", " ".join(others))
    named = paper.group(1) if paper else ""
    if named and number and number.group() not in named:
        named = f"{named}, {number.group()}"
    own = known.constants.get("group")
    return InitializerFacts(
        group=group or (own if own in GROUPS else GROUPS[-1]),
        sentence=first_line(known.class_doc),
        paper=" ".join(named.split()),
        applies_to=known.constants["applies_to"],
        runs_network=not group and known.constants["runs_network"],
    )
