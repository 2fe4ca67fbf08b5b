"""Edge of chaos: weights at which depth neither forgets nor amplifies (Hayou et al., 2019, arXiv:1902.06853).

The curve of tanh is that of Schoenholz et al., 2017, arXiv:1611.01232.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Final, Literal, final

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional

from paramgen.architectures import Architecture
from paramgen.errors import OptionError
from paramgen.graphs.analysis.roles import Flow, LinearMap, biases_of, linear_maps_of
from paramgen.graphs.ops import WEIGHT_OPS
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, check_number, initializers
from paramgen.initializers.he import HE
from paramgen.initializers.library import complete_rules, fill_by_rules
from paramgen.initializers.linear_maps import he_weights, random_weights
from paramgen.initializers.orthogonal import flat
from paramgen.slots.init_program import one_thread, slot_generator
from paramgen.slots.manifest import Slot

EOC: Final = "eoc"
NODES: Final = 200
"""Points of the Gauss-Hermite quadrature."""

Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: Final[Mapping[str, Activation]] = {
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "prelu": lambda z: functional.leaky_relu(z, 0.25),
    "hardtanh": functional.hardtanh,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "hardswish": functional.hardswish,
    "mish": functional.mish,
    "tanh": torch.tanh,
    "elu": functional.elu,
    "celu": functional.celu,
    "selu": functional.selu,
    "softsign": functional.softsign,
    "erf": torch.erf,
}
"""What has an edge of chaos, by the name of torch's function, with torch's default parameters."""

_HOMOGENEOUS: Final = ("relu", "leaky_relu", "prelu")
"""With f(az) = a f(z) for a > 0: the only point on the curve has no biases."""


@final
@dataclass(frozen=True, slots=True)
class Critical:
    """A point on the edge of chaos: the stds of weights (times the root of the fan-in) and biases, and the variance."""

    weight: float
    bias: float
    variance: float  # q of a pre-activation; 0 where any is kept


@final
@initializers.register(EOC)
@dataclass(frozen=True, kw_only=True)
class EdgeOfChaos(Initializer):
    """Random weights and biases on the edge of chaos of the activation that follows (Hayou et al., 2019).

    q = bias^2 + weight^2 E[f(sqrt(q) z)^2] and weight^2 E[f'(sqrt(q) z)^2] = 1 for a standard normal z. Weights that
    are followed by a norm, a sigmoid or nothing are He's: there is no such point, or it changes nothing.
    """

    group: ClassVar[str] = "formulas"
    applies_to: ClassVar[str] = "linear layers and convolutions before an activation, and their biases"

    bias: float | int = 0.05  # std of the biases; none before relu, whose point has none
    basis: Literal["normal", "orthogonal"] = "normal"
    moment: float | int = 0
    """Second moment of the input data, for which the first weights are scaled so that q is reached at once; 0: not."""

    def __post_init__(self) -> None:
        check_number(EOC, "bias", self.bias, example=0.05, most=10)
        check_number(EOC, "moment", self.moment, example=1.0)
        if self.basis not in ("normal", "orthogonal"):
            raise OptionError(f"basis is {self.basis!r}. Allowed: normal and orthogonal")

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return that no weight has an edge of chaos, where none has."""
        if any(self._point(each) for each in linear_maps_of(graph, architecture.manifest).values()):
            return None
        return "no weight of it is followed by an activation with an edge of chaos and no norm. Type: --init he"

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `eoc` for weights with an edge of chaos and their biases, `he` and `zero` for other linear maps."""
        if self.hindrance(architecture, graph) is not None:
            return complete_rules(architecture, {})
        maps = linear_maps_of(graph, architecture.manifest)
        rules = {name: EOC if self._point(each) else HE for name, each in maps.items()}
        biases = self._biases(architecture, graph, maps)
        return complete_rules(
            architecture,
            rules | dict.fromkeys(biases, EOC),
            biases_of(graph, architecture.manifest, maps) - biases.keys(),
        )

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Compute one slot after the other."""
        maps = linear_maps_of(graph, architecture.manifest)
        biases = self._biases(architecture, graph, maps)
        first = _first_weights(graph)

        def make(slot: Slot) -> Tensor:
            generator = slot_generator(seed, slot.name)
            if slot.name in biases:
                return torch.empty(slot.shape).normal_(0.0, biases[slot.name], generator=generator).to(slot.dtype)
            linear_map = maps[slot.name]
            point = self._point(linear_map)
            if point is None:
                return linear_map.stored(he_weights(linear_map, generator), slot)
            weight = self._first(point) if linear_map.node in first else point.weight
            return linear_map.stored(self._weights(linear_map, weight, generator), slot)

        return fill_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)

    def _point(self, linear_map: LinearMap) -> Critical | None:
        """Return the point for what follows a weight; None where there is none, or a norm comes first."""
        if linear_map.normed or linear_map.function not in ACTIVATIONS:
            return None
        return critical_point(linear_map.function, float(self.bias))

    def _biases(self, architecture: Architecture, graph: Graph, maps: Mapping[str, LinearMap]) -> dict[str, float]:
        """Return the std of each bias that is not zero."""
        by_std: dict[float, list[str]] = {}
        for name, linear_map in maps.items():
            point = self._point(linear_map)
            if point is not None and point.bias > 0:
                by_std.setdefault(point.bias, []).append(name)
        return {
            bias: std for std, weights in by_std.items() for bias in biases_of(graph, architecture.manifest, weights)
        }

    def _first(self, point: Critical) -> float:
        """Return the weights' scale for data of the second moment `moment`, from which q is reached in one layer."""
        left = point.variance - point.bias**2
        return (left / self.moment) ** 0.5 if self.moment and left > 0 else point.weight

    def _weights(
        self, linear_map: LinearMap, weight: float, generator: torch.Generator
    ) -> Float[Tensor, "groups out in *kernel"]:
        if self.basis == "normal":
            return random_weights(linear_map, weight / linear_map.fan_in**0.5, "normal", generator)
        # With more outputs than inputs, orthonormal columns would make each output smaller.
        return weight * max(1.0, linear_map.out / linear_map.fan_in) ** 0.5 * flat(linear_map, generator)


@cache
def critical_point(function: str, bias: float) -> Critical | None:
    """Return the point on an activation's edge of chaos with the smallest variance; None where there is none.

    >>> round(critical_point("tanh", 0.05).weight, 4)
    1.1225
    """
    activation = ACTIVATIONS[function]
    if function in _HOMOGENEOUS:
        moments = _moments(activation, np.ones(1))
        return Critical(float(moments.slope[0] ** -0.5), 0.0, 0.0)
    grid = np.logspace(-7, 3, 501)
    signs = np.sign(_excess(activation, grid, bias))
    crossings = np.flatnonzero((signs[:-1] < 0) & (signs[1:] >= 0))
    if not len(crossings):
        return _at_zero(activation) if bias == 0 else None
    low, high = np.log(grid[crossings[0]]), np.log(grid[crossings[0] + 1])
    for _ in range(60):
        middle = (low + high) / 2
        below = _excess(activation, np.exp([middle]), bias)[0] < 0
        low, high = (middle, high) if below else (low, middle)
    variance = float(np.exp(high))
    return Critical(float(_moments(activation, np.array([variance])).slope[0] ** -0.5), bias, variance)


def _at_zero(activation: Activation) -> Critical | None:
    """Return the point of an odd activation without biases, whose variance goes to zero."""
    ends = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    if not torch.equal(activation(ends), -activation(-ends)):
        return None
    slope = float(_moments(activation, np.array([1e-12])).slope[0])
    return Critical(slope**-0.5, 0.0, 0.0) if slope > 0 else None


@final
@dataclass(frozen=True, slots=True)
class _Moments:
    square: Float64[np.ndarray, " points"]  # E[f(sqrt(q) z)^2]
    slope: Float64[np.ndarray, " points"]  # E[f'(sqrt(q) z)^2]


@one_thread()
def _moments(activation: Activation, variances: Float64[np.ndarray, " points"]) -> _Moments:
    """Return both expectations for each variance, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    with torch.enable_grad():
        inputs = torch.tensor(np.sqrt(variances)[:, None] * nodes, requires_grad=True)
        outputs = activation(inputs)
        (slopes,) = torch.autograd.grad(outputs.sum(), inputs)
    return _Moments(outputs.detach().square().numpy() @ weights, slopes.square().numpy() @ weights)


def _excess(
    activation: Activation, variances: Float64[np.ndarray, " points"], bias: float
) -> Float64[np.ndarray, " points"]:
    """Return q - bias^2 - E[f^2] / E[f'^2], which is zero on the edge of chaos."""
    moments = _moments(activation, variances)
    return variances - bias**2 - moments.square / np.maximum(moments.slope, 1e-300)


def _first_weights(graph: Graph) -> set[int]:
    """Return the weights that read the network's inputs through nothing with weights."""
    flow = Flow(graph)
    starts = [index for index, node in enumerate(graph.nodes) if node.op == "input"]
    others = frozenset(node.op for node in graph.nodes) - WEIGHT_OPS
    return {node for node in flow.reach(flow.after, starts, through=others) if flow.op(node) in WEIGHT_OPS}
