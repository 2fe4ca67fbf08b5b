"""Maximal update parametrization, as far as a start can have it (Yang et al., 2022, arXiv:2203.03466).

The learning rates by width and the factor on the scores are training's and the network's; they are not here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Final, Literal, final

from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.attention import attentions_of
from paramgen.graphs.analysis.roles import LinearMap, biases_of, linear_maps_of
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, initializers, refuse_no_std
from paramgen.initializers.he import drawn
from paramgen.initializers.library import library_elsewhere, start_by_rules
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import Slot

MUP = "mup"
MAX_BASE: Final = 1_000_000


@final
@initializers.register("mup")
@dataclass(frozen=True, kw_only=True)
class MaximalUpdate(Initializer):
    """Variance 1 / fan-in within, 1 / fan-in squared at the output, queries zero (Yang et al., 2022): the start of muP.

    At `base` inputs both have the deviation given. A head that is tied to an embedding is the library's.
    """

    deviation: float | int = 0.02
    base: int = 256  # the fan-in of the network whose settings are to be transferred
    queries: Literal["zero", "drawn"] = "zero"  # appendix D.2

    def __post_init__(self) -> None:
        refuse_no_std(MUP, self.deviation)
        if type(self.base) is not int or not 1 <= self.base <= MAX_BASE:
            raise OptionError(
                f"base is {one_line(repr(self.base))}. Allowed: a whole number from 1 to {MAX_BASE:,}. "
                "Type: --init 'mup?base=256'"
            )
        if self.queries not in ("zero", "drawn"):
            raise OptionError(f"queries is {self.queries!r}. Allowed: zero and drawn")

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """`mup` for the weights of linear maps and convolutions, `zero` for their biases, else the library's."""
        parts = linear_maps_of(graph, architecture.manifest)
        return library_elsewhere(
            architecture, dict.fromkeys(parts, MUP), biases_of(graph, architecture.manifest, parts)
        )

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Draw one slot after the other."""
        parts = linear_maps_of(graph, architecture.manifest)
        groups = attentions_of(graph, architecture.manifest) if self.queries == "zero" else []
        queries = {group.query.slot: (group.query.rows, group.head_width) for group in groups}

        def make(slot: Slot) -> Tensor:
            part = parts[slot.name]
            weights = drawn(part, self._deviation(part), "normal", slot_generator(seed, slot.name))
            rows, width = queries.get(slot.name, ((), 0))
            for row in rows:
                weights[0, row : row + width] = 0.0
            return part.stored(weights, slot)

        return start_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)

    def _deviation(self, part: LinearMap) -> float:
        """Return table 8's: sigma sqrt(base / fan-in) within, sigma base / fan-in at the output."""
        ratio = self.base / part.fan_in
        return self.deviation * (ratio if part.output else sqrt(ratio))
