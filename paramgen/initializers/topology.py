"""Architecture-aware scaling of variances and learning rates (Chen et al., 2024, arXiv:2402.17440)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp, sqrt
from typing import Any, ClassVar, Final, Literal, final

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError
from paramgen.graphs.analysis.roles import GAINS, Flow, LinearMap, linear_maps_of
from paramgen.graphs.ops import NORMS
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, ResolvedInitializer, initializers
from paramgen.initializers.library import complete_rules
from paramgen.initializers.linear_maps import fill_linear_maps, linear_map_rules, random_weights

TOPOLOGY: Final = "topology"
MAX_COUNTS: Final = 20_000_000
"""Beyond so many numbers, of nodes and activations before them, the learning rate's factor is not computed."""

_TO_SUM: Final = NORMS | {"bias", "multiply"}


@final
@initializers.register(TOPOLOGY)
@dataclass(frozen=True, kw_only=True)
class Topology(Initializer):
    """Normal weights of variance gain^2 / (d fan-in) before a sum of d inputs, d 1 elsewhere (Chen et al., 2024).

    At the output it is gain^2 / fan-in^2. The record has `learning_rate_factor`: by how much the learning rate of a
    network with one hidden layer is to be multiplied, (sum of L_p^3 over paths)^(-1/2) / kernel size with L_p
    activations on path p (eq. 8 and 9).
    """

    group: ClassVar[str] = "formulas"
    applies_to: ClassVar[str] = "linear layers and convolutions"

    degree: Literal["target", "source"] = "target"
    """`target`: the number of inputs of the sum that a weight enters, which keeps variances; `source`: the number of
    sums that what it reads enters, as equation 4 is printed."""
    _factor: float | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.degree not in ("target", "source"):
            raise OptionError(
                f"degree is {self.degree!r}. Allowed: target and source. Type: --init 'topology?degree=target'"
            )

    def resolve(self, architecture: Architecture, graph: Graph) -> ResolvedInitializer:
        """Return itself with the factor of the learning rate for this network."""
        return ResolvedInitializer(initializer=replace(self, _factor=learning_rate_factor(architecture, graph)))

    def describe(self) -> Mapping[str, Any]:
        """Return the factor of the learning rate, where a network is known."""
        return {} if self._factor is None else {"learning_rate_factor": self._factor}

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return that there is no linear map, where there is none."""
        if linear_maps_of(graph, architecture.manifest):
            return None
        return "it has no linear layer or convolution. Type: --init library"

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `topology` for weights of linear maps, `zero` for their biases."""
        if self.hindrance(architecture, graph) is not None:
            return complete_rules(architecture, {})
        return linear_map_rules(architecture, graph, lambda _: TOPOLOGY)

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Compute one slot after the other."""
        flow = Flow(graph)
        degree = _inputs_of_sum if self.degree == "target" else _sums_of_source

        def weights(linear_map: LinearMap, generator: torch.Generator) -> Float[Tensor, "groups out in *kernel"]:
            if linear_map.output:
                std = linear_map.gain / linear_map.fan_in
            else:
                std = linear_map.gain / sqrt(degree(flow, linear_map.node) * linear_map.fan_in)
            return random_weights(linear_map, std, "normal", generator)

        return fill_linear_maps(architecture, graph, self.rules(architecture, graph), weights, seed=seed)


def _inputs_of_sum(flow: Flow, node: int) -> int:
    """Return the number of streams in the sum that a weight's output enters; 1 where it enters none."""
    met = flow.reach(flow.after, flow.after[node], through=_TO_SUM)
    sums = [other for other in met if flow.op(other) == "sum"]
    if not sums:
        return 1
    last = min(sums)
    while [flow.op(other) for other in flow.after[last]] == ["sum"]:  # a sum of three is written as two
        last = flow.after[last][0]
    return max(1, _streams(flow, last))


def _streams(flow: Flow, node: int) -> int:
    count = 0
    stack = [node]
    while stack:
        for source in flow.before[stack.pop()]:
            flow.step()
            if flow.op(source) == "sum" and len(flow.after[source]) == 1:
                stack.append(source)
            elif flow.op(source) != "parameter":
                count += 1
    return count


def _sums_of_source(flow: Flow, node: int) -> int:
    """Return in how many streams the sum that a weight reads from has; 1 where it reads from none."""
    met = flow.reach(flow.before, flow.before[node], through=_TO_SUM | GAINS.keys())
    sums = [other for other in met if flow.op(other) == "sum"]
    return max(1, _streams(flow, max(sums))) if sums else 1


def learning_rate_factor(architecture: Architecture, graph: Graph) -> float | None:
    """Return the factor on the learning rate of a network with one hidden layer; None where no path has activations."""
    total = _log_sum_of_cubes(graph)
    if total is None:
        return None
    kernels = [max(each.kernel) for each in linear_maps_of(graph, architecture.manifest).values() if each.kernel]
    return exp(-total / 2) / max(kernels, default=1)


def _log_sum_of_cubes(graph: Graph) -> float | None:
    """Return the logarithm of the sum of L^3 over all paths from inputs to outputs, L activations on each.

    Paths are counted by L, node by node: their number grows as 2 to the number of blocks.
    """
    flow = Flow(graph)
    counts: list[Float64[np.ndarray, " depths"] | None] = []
    activations = GAINS.keys() - {""}
    total, left = -np.inf, MAX_COUNTS
    for index, node in enumerate(graph.nodes):
        own: Float64[np.ndarray, " depths"] | None = np.zeros(1) if node.op == "input" else None
        for source in flow.before[index]:
            own = _added(own, counts[source])
        if own is not None and node.op in activations:
            own = np.concatenate(([-np.inf], own))
        if own is not None and node.op == "output":
            with np.errstate(divide="ignore"):
                total = np.logaddexp(total, np.logaddexp.reduce(own + 3 * np.log(np.arange(len(own)))))
        counts.append(own)
        left -= 0 if own is None else len(own) * max(1, len(flow.before[index]))
        if left < 0:
            return None
    return float(total) if np.isfinite(total) else None


def _added(
    one: Float64[np.ndarray, " depths"] | None, other: Float64[np.ndarray, " others"] | None
) -> Float64[np.ndarray, " more"] | None:
    if one is None or other is None:
        return other if one is None else one
    size = max(len(one), len(other))
    padded: list[Any] = [np.pad(each, (0, size - len(each)), constant_values=-np.inf) for each in (one, other)]
    return np.logaddexp(*padded)
