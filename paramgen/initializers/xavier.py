"""Variance kept halfway between forward and backward (Glorot & Bengio, 2010, AISTATS)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError
from paramgen.graphs.analysis.roles import biases_of, linear_maps_of
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.he import drawn
from paramgen.initializers.library import library_elsewhere, start_by_rules
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import Slot

XAVIER = "xavier"


@final
@initializers.register("xavier")
@dataclass(frozen=True, kw_only=True)
class Xavier(Initializer):
    """Weights of variance 2 / (fan in + fan out) (Glorot & Bengio, 2010); biases zero."""

    distribution: Literal["uniform", "normal"] = "uniform"  # the paper's is uniform (eq. 16)

    def __post_init__(self) -> None:
        if self.distribution not in ("uniform", "normal"):
            raise OptionError(
                f"distribution is {self.distribution!r}. Allowed: uniform and normal. "
                "Type: --init 'xavier?distribution=normal'"
            )

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """`xavier` for the weights of linear maps and convolutions, `zero` for their biases, else the library's."""
        parts = linear_maps_of(graph, architecture.manifest)
        return library_elsewhere(
            architecture, dict.fromkeys(parts, XAVIER), biases_of(graph, architecture.manifest, parts)
        )

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Draw one slot after the other."""
        parts = linear_maps_of(graph, architecture.manifest)

        def make(slot: Slot) -> Tensor:
            part = parts[slot.name]
            deviation = (2.0 / (part.fan_in + part.fan_out)) ** 0.5  # eq. 12
            return part.stored(drawn(part, deviation, self.distribution, slot_generator(seed, slot.name)), slot)

        return start_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)
