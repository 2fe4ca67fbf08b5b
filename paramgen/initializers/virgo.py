"""Graph networks: variances that the graph itself keeps from layer to layer (Virgo; Li et al., 2023)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Final, Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError
from paramgen.graphs.analysis.roles import LinearMap, linear_maps_of
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.library import complete_rules
from paramgen.initializers.linear_maps import fill_linear_maps, random_weights
from paramgen.slots.init_program import one_thread
from paramgen.slots.torch_internals import tree_leaves

VIRGO: Final = "virgo"
MAX_GRAPH_EDGES: Final = 50_000_000

Propagation = Literal["normalized", "mean", "sum"]
LAYERS: Final[Mapping[str, tuple[Propagation, tuple[str, ...]]]] = {
    "GCNConv": ("normalized", ("lin",)),
    "SAGEConv": ("mean", ("lin_l", "lin_r")),
    "GATConv": ("mean", ("lin", "lin_src", "lin_dst")),
    "GINConv": ("sum", ("nn",)),
}
"""Class of a layer of torch_geometric -> how it propagates, and the modules that hold its weights."""


@final
@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer: its weights, which belong together, and how it propagates."""

    weights: tuple[str, ...]
    propagation: Propagation


@final
@initializers.register(VIRGO)
@dataclass(frozen=True, kw_only=True)
class Virgo(Initializer):
    """Uniform weights of graph networks by how the example's graph spreads what it propagates (Virgo, Li et al., 2023).

    With h_0 the mean of the features, A the layer's propagation and s_i the sum of squares of A^(i+1) h_0, the variance
    is 2 / m in layer 0 and (2 / m) s_(i-1) / s_i after it, m the inputs. Backward, h_0 is 1 and layers are counted from
    the output. The example input has to hold the graph itself.
    """

    group: ClassVar[str] = "formulas"
    applies_to: ClassVar[str] = "graph networks of torch_geometric: GCN, SAGE, GAT, GIN"

    keep: Literal["forward", "backward"] = "forward"

    def __post_init__(self) -> None:
        if self.keep not in ("forward", "backward"):
            raise OptionError(
                f"keep is {self.keep!r}. Allowed: forward and backward. Type: --init 'virgo?keep=backward'"
            )

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return that there is no layer of torch_geometric, or no graph among the example's tensors."""
        if architecture.module is None:
            return "its layers and its example are not in a graph's JSON. Give --arch a file.py:factory"
        if not _layers(architecture, graph):
            return f"it has no layer of torch_geometric such as {', '.join(LAYERS)}. Type: --init he"
        if _example(architecture) is None:
            return (
                "its example input has no features (nodes by channels) with a graph (edge_index, 2 by edges). "
                "Type: --example-input file.py:FUNCTION, which returns them"
            )
        return None

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `virgo` for the weights of graph layers, the library's rule elsewhere."""
        if self.hindrance(architecture, graph) is not None:
            return complete_rules(architecture, {})
        return complete_rules(
            architecture, {name: VIRGO for layer in _layers(architecture, graph) for name in layer.weights}
        )

    def assumptions(self, architecture: Architecture, graph: Graph) -> tuple[str, ...]:
        """Say which graph the weights are for."""
        example = _example(architecture)
        if example is None:
            return ()
        features, edges = example
        digest = sha256(edges.contiguous().numpy().tobytes()).hexdigest()[:16]
        return (f"virgo's variances are for the example's graph of {len(features):,} nodes (sha256 {digest})",)

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Compute one slot after the other."""
        rules = self.rules(architecture, graph)
        variances = self._variances(architecture, graph) if VIRGO in rules.values() else {}

        def weights(linear_map: LinearMap, generator: torch.Generator) -> Float[Tensor, "groups out in *kernel"]:
            return random_weights(linear_map, variances[linear_map.slot] ** 0.5, "uniform", generator)

        return fill_linear_maps(architecture, graph, rules, weights, seed=seed)

    def _variances(self, architecture: Architecture, graph: Graph) -> dict[str, float]:
        """Return the variance of each weight, layer after layer in the direction that is kept."""
        example = _example(architecture)
        assert example is not None
        features, edges = example
        maps, layers = linear_maps_of(graph, architecture.manifest), _layers(architecture, graph)
        states = features.double().mean(1)
        if self.keep == "backward":
            layers.reverse()
            states = torch.ones(len(features), dtype=torch.float64)
        found: dict[str, float] = {}
        before = 0.0
        for index, layer in enumerate(layers):
            states = propagate(states, edges, layer.propagation)
            squares = float(states.square().sum())
            for name in layer.weights:
                width = maps[name].fan if self.keep == "forward" else maps[name].out
                first = (
                    2 / width if self.keep == "forward" else len(features) / (max(width - 1, 1) * max(squares, 1e-300))
                )
                found[name] = first if index == 0 else 2 / width * before / max(squares, 1e-300)
            before = squares
        return found


def _layers(architecture: Architecture, graph: Graph) -> list[_Layer]:
    """Return the layers of torch_geometric in forward order."""
    maps = linear_maps_of(graph, architecture.manifest)
    modules = dict(architecture.module.named_modules()) if architecture.module is not None else {}
    found: dict[str, tuple[Propagation, list[str]]] = {}
    for name in maps:
        for path in _paths(name):
            kind = type(modules[path]).__name__ if path in modules else ""
            rest = name[len(path) + 1 :] if path else name
            if kind in LAYERS and rest.split(".")[0] in LAYERS[kind][1]:
                found.setdefault(path, (LAYERS[kind][0], []))[1].append(name)
                break
    return [_Layer(tuple(names), propagation) for propagation, names in found.values()]


def _paths(name: str) -> Iterator[str]:
    while name:
        name = name.rpartition(".")[0]
        yield name


def _example(architecture: Architecture) -> tuple[Float[Tensor, "nodes channels"], Int[Tensor, "2 edges"]] | None:
    """Return the features and the graph among the example's tensors."""
    if architecture.example is None:
        return None
    tensors = [leaf for leaf in tree_leaves(architecture.example) if isinstance(leaf, Tensor) and not leaf.is_meta]
    edges = [each for each in tensors if each.dtype == torch.long and each.dim() == 2 and each.shape[0] == 2]
    features = [each for each in tensors if each.is_floating_point() and each.dim() == 2]
    if not edges or not features or not 0 < edges[0].shape[1] <= MAX_GRAPH_EDGES:
        return None
    inside = int(edges[0].min()) >= 0 and int(edges[0].max()) < len(features[0])
    return (features[0], edges[0]) if inside else None


@one_thread()
def propagate(
    states: Float[Tensor, " nodes"], edges: Int[Tensor, "2 edges"], propagation: Propagation
) -> Float[Tensor, " nodes"]:
    """Return what one layer makes of a number at each node: the sum over its edges and itself, normalized or not."""
    loops = torch.arange(len(states))
    plain = edges[:, edges[0] != edges[1]]
    source, target = torch.cat((plain, torch.stack((loops, loops))), 1)
    degree = torch.zeros_like(states).index_add_(0, target, torch.ones(len(target), dtype=states.dtype))
    weight = torch.ones(len(target), dtype=states.dtype)
    if propagation == "normalized":
        weight = (degree[source] * degree[target]).rsqrt()
    elif propagation == "mean":
        weight = 1 / degree[target]
    return torch.zeros_like(states).index_add_(0, target, weight * states[source])
