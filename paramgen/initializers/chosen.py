"""What an initializer that chooses for each network has chosen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from paramgen.architectures import Architecture
from paramgen.graphs.kinds import Family
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors


@final
@dataclass(frozen=True, kw_only=True)
class Chosen(Initializer):
    """A start that was chosen for one network, and why."""

    init: str
    family: Family
    reason: str
    initializer: Initializer

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """The rules of the chosen start."""
        return self.initializer.rules(architecture, graph)

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """The tensors of the chosen start."""
        return self.initializer.tensors(architecture, graph, seed=seed)

    def describe(self) -> Mapping[str, Any]:
        """Return what was chosen and why, and what else identifies the chosen start."""
        return {**self.chosen, **self.initializer.describe()}

    def inherited(self) -> Mapping[str, Any]:
        """Whose weights the chosen start uses."""
        return self.initializer.inherited()

    @property
    def chosen(self) -> dict[str, str]:
        """What was chosen and why, as JSON."""
        return {"chosen": self.init, "family": self.family, "reason": self.reason}
