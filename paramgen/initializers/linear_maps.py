"""The base of closed-form initializers: a formula for the weight of each linear map, the library's values elsewhere."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.graphs.analysis.attention import attentions_of
from paramgen.graphs.analysis.roles import LinearMap, biases_of, linear_maps_of
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors
from paramgen.initializers.library import complete_rules, fill_by_rules
from paramgen.slots.init_program import one_thread, slot_generator
from paramgen.slots.manifest import Manifest, Slot


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LinearMaps:
    """The linear maps of one network (linear layers and convolutions), and what formulas need to know of them all."""

    graph: Graph
    manifest: Manifest

    @cached_property
    def by_slot(self) -> Mapping[str, LinearMap]:
        """Each map by the name of its weight."""
        return linear_maps_of(self.graph, self.manifest)

    @cached_property
    def branches(self) -> int:
        """Number of residual branches that end with a linear map."""
        return sum(linear_map.last_of_branch for linear_map in self.by_slot.values())

    @cached_property
    def query_rows(self) -> Mapping[str, tuple[slice, ...]]:
        """The rows of each weight that make the queries of a self-attention, head by head."""
        return {
            group.query.slot: tuple(slice(row, row + group.head_width) for row in group.query.rows)
            for group in attentions_of(self.graph, self.manifest)
        }


class LinearMapInitializer(Initializer):
    """Fills the weight of each linear map by a formula and its bias with zeros; the library's values elsewhere.

    A subclass says how the rule is called and what the formula is.
    """

    __slots__ = ()

    group: ClassVar[str] = "formulas"
    applies_to: ClassVar[str] = "linear layers and convolutions"

    @abstractmethod
    def rule(self, linear_map: LinearMap) -> str | None:
        """Return the name of the rule that fills a weight; None where the library's values stay."""

    @abstractmethod
    def weights(
        self, linear_map: LinearMap, maps: LinearMaps, generator: torch.Generator
    ) -> Float[Tensor, "groups out in *kernel"]:
        """Return the weight of one linear map; `maps` are all of the network's."""

    @final
    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return the formula's rule for weights of linear maps, `zero` for their biases, the library's elsewhere.

        On a network that the formula does not fit at all, every rule is the library's: see `hindrance`.
        """
        if self.hindrance(architecture, graph) is not None:
            return complete_rules(architecture, {})
        return linear_map_rules(architecture, graph, self.rule)

    @final
    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Compute one slot after the other."""
        maps = LinearMaps(graph=graph, manifest=architecture.manifest)

        def make(slot: Slot) -> Tensor:
            linear_map = maps.by_slot[slot.name]
            return linear_map.stored(self.weights(linear_map, maps, slot_generator(seed, slot.name)), slot)

        return fill_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)


def linear_map_rules(
    architecture: Architecture, graph: Graph, rule: Callable[[LinearMap], str | None]
) -> Mapping[str, str]:
    """Return the rule of every slot: `rule`'s for weights of linear maps, `zero` for their biases."""
    found = {name: rule(linear_map) for name, linear_map in linear_maps_of(graph, architecture.manifest).items()}
    filled = {name: each for name, each in found.items() if each is not None}
    return complete_rules(architecture, filled, biases_of(graph, architecture.manifest, filled))


def fill_linear_maps(
    architecture: Architecture,
    graph: Graph,
    rules: Mapping[str, str],
    weights: Callable[[LinearMap, torch.Generator], Float[Tensor, "groups out in *kernel"]],
    *,
    seed: int,
) -> NamedTensors:
    """Yield every slot by its rule; those of other rules than zero and the library's are linear maps of `weights`."""
    maps = linear_maps_of(graph, architecture.manifest)

    def make(slot: Slot) -> Tensor:
        linear_map = maps[slot.name]
        return linear_map.stored(weights(linear_map, slot_generator(seed, slot.name)), slot)

    return fill_by_rules(architecture, rules, make, seed=seed)


def he_weights(linear_map: LinearMap, generator: torch.Generator) -> Float[Tensor, "groups out in *kernel"]:
    """Return He initialization's normal weights, for the maps of a network that a formula does not speak of."""
    return random_weights(linear_map, linear_map.gain / linear_map.fan_in**0.5, "normal", generator)


def random_weights(
    linear_map: LinearMap, std: float, distribution: Literal["normal", "uniform"], generator: torch.Generator
) -> Float[Tensor, "groups out in *kernel"]:
    """Return independent random entries of mean 0 and the standard deviation `std`."""
    weights = torch.empty(linear_map.groups, linear_map.out, linear_map.fan, *linear_map.kernel)
    if distribution == "normal":
        return weights.normal_(0.0, std, generator=generator)
    return weights.uniform_(-(3**0.5) * std, 3**0.5 * std, generator=generator)


@one_thread()
def std_of(values: Tensor) -> float:
    """Return the std of a tensor's values; 0 where there is one value or none."""
    return float(values.detach().double().std()) if values.numel() > 1 else 0.0
