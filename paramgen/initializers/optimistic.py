"""Optimistic values: outputs begin high, so that what was not tried looks good (Sutton & Barto, 2018, section 2.6)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError
from paramgen.graphs.analysis.roles import Flow
from paramgen.graphs.ops import WEIGHT_OPS
from paramgen.graphs.schema import Graph
from paramgen.initializers import MAX_SCALE, Initializer, NamedTensors, check_number, initializers
from paramgen.initializers.library import ZERO, complete_rules, fill_by_rules
from paramgen.slots.manifest import Slot

OPTIMISTIC: Final = "optimistic"

_TO_OUTPUT: Final = frozenset(("mean", "resize", "sum"))


@final
@initializers.register(OPTIMISTIC)
@dataclass(frozen=True, kw_only=True)
class Optimistic(Initializer):
    """Outputs that begin at a value V: the output's bias, or m lookup tables of V/m each (Sutton & Barto, 2018).

    For networks that estimate returns: what was not tried yet promises much, and is tried.
    """

    group: ClassVar[str] = "formulas"
    applies_to: ClassVar[str] = "the bias of the output, or lookup tables that are summed there"

    value: float | int = 1.0
    weights: Literal["library", "zero"] = "library"  # of the output; zero: every output is exactly the value

    def __post_init__(self) -> None:
        check_number(OPTIMISTIC, "value", self.value, example=10.0, least=-MAX_SCALE)
        if self.weights not in ("library", "zero"):
            raise OptionError(
                f"weights is {self.weights!r}. Allowed: library and zero. Type: --init 'optimistic?weights=zero'"
            )

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return that the output has neither a bias nor a table, where it has neither."""
        if self._values(architecture, graph):
            return None
        return "its output is neither a layer with a bias nor a sum of lookup tables. Type: --init library"

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `optimistic` for the output's biases or tables, the library's rule elsewhere."""
        values = self._values(architecture, graph)
        zeros = self._weights(architecture, graph, values) if self.weights == ZERO else []
        filled = {slot.name for slot in architecture.manifest.filled}
        return complete_rules(
            architecture,
            {name: OPTIMISTIC for name in values if name in filled},
            (name for name in zeros if name in filled),
        )

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Compute one slot after the other."""
        values = self._values(architecture, graph)

        def make(slot: Slot) -> Tensor:
            return torch.full(slot.shape, values[slot.name], dtype=slot.dtype)

        return fill_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)

    def _values(self, architecture: Architecture, graph: Graph) -> dict[str, float]:
        """Return the value of each bias of the output; where there is none, of each table."""
        flow = Flow(graph)
        ends = [index for index, node in enumerate(graph.nodes) if node.op == "output"]
        met = flow.reach(flow.before, [source for end in ends for source in flow.before[end]], through=_TO_OUTPUT)
        for op in ("bias", "embedding"):
            found = [
                slot
                for node in sorted(met)
                if graph.nodes[node].op == op
                and (slot := graph.nodes[node].slot) is not None
                and architecture.manifest[slot].dtype.is_floating_point
            ]
            if found:  # several of one sum have a part each
                summed = len(found) if any(flow.op(node) == "sum" for node in met) else 1
                return dict.fromkeys(found, float(self.value) / summed)
        return {}

    def _weights(self, architecture: Architecture, graph: Graph, values: Mapping[str, float]) -> list[str]:
        """Return the weights before the output's biases."""
        flow = Flow(graph)
        biases = [index for index, node in enumerate(graph.nodes) if node.op == "bias" and node.slot in values]
        before = {source for bias in biases for source in flow.before[bias] if flow.op(source) in WEIGHT_OPS}
        names = (graph.nodes[node].slot for node in sorted(before))
        return [name for name in names if name is not None and name not in values]
