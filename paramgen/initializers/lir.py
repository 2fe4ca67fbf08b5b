"""Layer index rescaling: the deeper a layer, the smaller its weights (Owen et al., 2025, arXiv:2503.17500)."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import final

from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError
from paramgen.graphs.analysis.roles import biases_of, linear_maps_of
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, initializers, refuse_no_std
from paramgen.initializers.he import drawn
from paramgen.initializers.library import library_elsewhere, start_by_rules
from paramgen.language.families import layer_of
from paramgen.slots.init_program import one_thread, slot_generator
from paramgen.slots.manifest import Slot

LIR = "lir"


@final
@initializers.register("lir")
@dataclass(frozen=True, kw_only=True)
class LayerIndex(Initializer):
    """Normal weights whose deviation in layer l is divided by sqrt(l), l from 1 (Owen et al., 2025).

    Layers are counted as the names of the slots count them. The paper took 0.006 for a Llama of 1B parameters.
    """

    deviation: float | int = 0.02
    exact: bool = True
    """Whether each matrix is rescaled to exactly its deviation, as the paper's target variance rescaling does again and
    again in training."""

    def __post_init__(self) -> None:
        refuse_no_std(LIR, self.deviation)
        if not isinstance(self.exact, bool):
            raise OptionError(f"exact is {self.exact!r}. Allowed: true and false")

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """`lir` for the weights of linear maps and convolutions, `zero` for their biases, else the library's."""
        parts = linear_maps_of(graph, architecture.manifest)
        return library_elsewhere(
            architecture, dict.fromkeys(parts, LIR), biases_of(graph, architecture.manifest, parts)
        )

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Draw one slot after the other."""
        parts = linear_maps_of(graph, architecture.manifest)

        def make(slot: Slot) -> Tensor:
            deviation = self.deviation / sqrt((layer_of(slot.name) or 0) + 1)
            weights = drawn(parts[slot.name], deviation, "normal", slot_generator(seed, slot.name))
            if self.exact and (root := _root_mean_square(weights)) > 0:
                weights *= deviation / root
            return parts[slot.name].stored(weights, slot)

        return start_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)


@one_thread()
def _root_mean_square(weights: Tensor) -> float:
    return float(weights.double().square().mean().sqrt())
