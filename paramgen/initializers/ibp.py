"""Interval bounds: weights at which bounds on what a layer returns keep their width (Shi et al., 2021).

Certified training by interval bound propagation, arXiv:2103.17268.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi, sqrt
from typing import ClassVar, Final, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.graphs.analysis.roles import Flow, LinearMap, linear_maps_of
from paramgen.graphs.ops import NORMS
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.he import HE
from paramgen.initializers.library import complete_rules
from paramgen.initializers.linear_maps import fill_linear_maps, he_weights, linear_map_rules, random_weights

IBP: Final = "ibp"

_BOUNDED: Final = frozenset(
    "input output conv dilated_conv depthwise_conv linear bias batch_norm relu sum max_pool average_pool mean".split()
)
_BETWEEN: Final = (NORMS & _BOUNDED) | {"bias", "relu", "max_pool", "average_pool", "mean"}


@final
@initializers.register(IBP)
@dataclass(frozen=True, kw_only=True)
class IntervalBounds(Initializer):
    """Normal weights of variance 2 pi / fan-in^2 for certified training (IBP, Shi et al., 2021); the output is He's.

    An interval's width is multiplied by n/2 E|W|, which is 1 (section 3.2). Signals shrink: without norms, ordinary
    training is slow.
    """

    group: ClassVar[str] = "formulas"
    applies_to: ClassVar[str] = "networks of convolutions, linear layers, ReLU and batch norms"

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return what the network has that the formula does not bound."""
        others = sorted({node.op for node in graph.nodes} - _BOUNDED)
        if others:
            return (
                f"it has {others[0]!r}, and the formula is about convolutions, linear layers, ReLU and batch norms. "
                "Type: --init he"
            )
        if any(not each.output for each in linear_maps_of(graph, architecture.manifest).values()):
            return None
        return "it has no weight before its last layer. Type: --init he"

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `ibp` for weights of linear maps, `he` for those of the output, `zero` for biases."""
        if self.hindrance(architecture, graph) is not None:
            return complete_rules(architecture, {})
        return linear_map_rules(architecture, graph, lambda each: HE if each.output else IBP)

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Compute one slot after the other."""
        halved = _behind_sums(graph)

        def weights(linear_map: LinearMap, generator: torch.Generator) -> Float[Tensor, "groups out in *kernel"]:
            if linear_map.output:
                return he_weights(linear_map, generator)
            std = sqrt(2 * pi) / linear_map.fan_in
            return random_weights(linear_map, std / 2 if linear_map.node in halved else std, "normal", generator)

        return fill_linear_maps(architecture, graph, self.rules(architecture, graph), weights, seed=seed)


def _behind_sums(graph: Graph) -> set[int]:
    """Return the first weights behind sums of two intervals, whose widths add: they are halved."""
    flow = Flow(graph)
    sums = [node for node in range(len(graph.nodes)) if flow.op(node) == "sum" and len(flow.before[node]) > 1]
    starts = [after for node in sums for after in flow.after[node]]
    return flow.reach(flow.after, starts, through=_BETWEEN)
