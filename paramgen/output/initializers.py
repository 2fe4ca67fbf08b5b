"""The initializers and modifiers that can be typed, what is known of each, and which of them apply to a network."""

import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from paramgen.architectures import Architecture, Inputs
from paramgen.errors import ParamgenError
from paramgen.graphs.schema import Graph
from paramgen.initializers import GROUPS, Initializer, initializer_of, initializers
from paramgen.initializers.library import DEFAULTS
from paramgen.modifiers import Modifier, modifiers
from paramgen.prediction import describe, prediction_of

_PAPER = re.compile(r"\(([^()]*(?:19|20)\d\d[^()]*)\)")


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
    found = {name: _facts(initializers.get(name)) for name in initializers.names()}
    order = {group: index for index, group in enumerate(GROUPS)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[1].group, len(GROUPS)), item[0])))


def modifier_facts() -> dict[str, InitializerFacts]:
    """Return what is known of every modifier, by its name."""
    return {name: _facts(modifiers.get(name)) for name in modifiers.names()}


def _facts(kind: type[Initializer] | type[Modifier]) -> InitializerFacts:
    """Read it off the class and the first sentence of its module, which names the paper."""
    module = inspect.getdoc(sys.modules[kind.__module__]) or ""
    first, *others = module.split("\n\n")
    paper = _PAPER.search(first)
    number = re.search(r"arXiv:\d{4}\.\d{4,5}", first) or re.search(r"arXiv:\d{4}\.\d{4,5}", " ".join(others))
    named = paper.group(1) if paper else ""
    if named and number and number.group() not in named:
        named = f"{named}, {number.group()}"
    sentence = (kind.__doc__ or "").strip().partition("\n")[0]
    known = {"sentence": sentence, "paper": " ".join(named.split()), "applies_to": kind.applies_to}
    if issubclass(kind, Modifier):
        return InitializerFacts(group="modifiers", runs_network=False, **known)
    group = kind.group if kind.group in GROUPS else GROUPS[-1]
    return InitializerFacts(group=group, runs_network=kind.runs_network, **known)


@final
@dataclass(frozen=True, kw_only=True)
class Fitness:
    """What one initializer would do to a network."""

    share: float  # of the elements, those that it would not leave to the library's own initialization
    rules: Mapping[str, int]  # number of elements by rule; empty where it does not apply
    reason: str  # why it does not apply, or what has to be typed first; empty where it does

    @property
    def applies(self) -> bool:
        """Whether it would change anything."""
        return not self.reason

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "applies": self.applies,
            "share": round(self.share, 6),
            "rules": dict(self.rules),
            "reason": self.reason,
        }

    def __str__(self) -> str:
        if not self.applies:
            return f"no: {self.reason}"
        own = ", ".join(rule for rule in self.rules if rule not in DEFAULTS)
        return f"{self.share:6.1%} of the elements: {own}"


def fitting(
    arch: Any, *, overrides: Mapping[str, Any] | None = None, example_input: Inputs | None = None
) -> dict[str, Fitness]:
    """Return what every initializer would do to a network, by its name; nothing is computed."""
    architecture, graph = describe(arch, overrides=overrides, example_input=example_input)
    return {name: _fitness(name, architecture, graph) for name in initializer_facts()}


def _fitness(name: str, architecture: Architecture, graph: Graph) -> Fitness:
    try:
        initializer = initializer_of(name)
        if why := initializer.hindrance(architecture, graph):
            return Fitness(share=0.0, rules={}, reason=why)
        prediction = prediction_of(architecture, graph, initializer, init=name, seed=0, dtype=None)
        counts = prediction.by_rule
        if prediction.is_library:  # `library`, or what chose it
            return Fitness(share=0.0, rules={}, reason=prediction.explanation or "it is the default initialization")
    except ParamgenError as error:
        return Fitness(share=0.0, rules={}, reason=error.message)
    changed = sum(count for rule, count in counts.items() if rule not in DEFAULTS)
    return Fitness(share=changed / max(architecture.manifest.elements, 1), rules=counts, reason="")
