"""Which initializers apply to a network, and what each would do to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from paramgen.architectures import Architecture, Inputs
from paramgen.errors import ParamgenError
from paramgen.graphs.schema import Graph
from paramgen.initializers import initializer_of
from paramgen.initializers.library import DEFAULTS
from paramgen.output.facts import initializer_facts
from paramgen.prediction import describe, prediction_of


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
