"""GPT-2's start: smaller weights at the ends of residual branches (Radford et al., 2019, section 2.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import final

from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.graphs.analysis.roles import biases_of, linear_maps_of
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, initializers, refuse_no_std
from paramgen.initializers.he import drawn
from paramgen.initializers.library import library_elsewhere, start_by_rules
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import Slot

SCALED = "scaled"


@final
@initializers.register("scaled")
@dataclass(frozen=True, kw_only=True)
class Scaled(Initializer):
    """Normal weights of one deviation; of N residual branches, the last ones divided by sqrt(N) (Radford et al., 2019).

    A block of a transformer has two branches, so that N is twice the number of layers.
    """

    deviation: float | int = 0.02

    def __post_init__(self) -> None:
        refuse_no_std(SCALED, self.deviation)

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """`scaled` for the weights of linear maps and convolutions, `zero` for their biases, else the library's."""
        parts = linear_maps_of(graph, architecture.manifest)
        return library_elsewhere(
            architecture, dict.fromkeys(parts, SCALED), biases_of(graph, architecture.manifest, parts)
        )

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Draw one slot after the other."""
        parts = linear_maps_of(graph, architecture.manifest)
        branches = sum(part.last_of_branch for part in parts.values())

        def make(slot: Slot) -> Tensor:
            part = parts[slot.name]
            deviation = self.deviation / sqrt(branches) if part.last_of_branch else self.deviation
            return part.stored(drawn(part, deviation, "normal", slot_generator(seed, slot.name)), slot)

        return start_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)
