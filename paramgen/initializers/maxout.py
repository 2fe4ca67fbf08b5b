"""Maxout: variances that a maximum over units keeps (Tseran & Montufar, 2023, arXiv:2301.06956)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Final, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.roles import Flow, LinearMap, linear_maps_of
from paramgen.graphs.ops import NORMS
from paramgen.graphs.schema import Graph, Node
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.he import HE
from paramgen.initializers.library import complete_rules
from paramgen.initializers.linear_maps import fill_linear_maps, he_weights, linear_map_rules, random_weights

MAXOUT: Final = "maxout"
MAX_UNITS: Final = 1000

_BETWEEN: Final = NORMS | {"bias", "max_pool", "average_pool", "mean", "resize"}


@final
@initializers.register(MAXOUT)
@dataclass(frozen=True, kw_only=True)
class Maxout(Initializer):
    """Normal weights of variance c / fan-in before a maximum over K units (Tseran & Montufar, 2023); He's elsewhere.

    c is 1 / E[max(z_1, ..., z_K)^2] for independent standard normal z (table 1). K is read off the shapes: as many
    times as many outputs as the next weight has inputs. A max-pool behind multiplies K by its window.
    """

    group: ClassVar[str] = "formulas"
    applies_to: ClassVar[str] = "linear layers and convolutions before a maximum over units"

    rank: int = 0  # K; 0: from the shapes

    def __post_init__(self) -> None:
        if type(self.rank) is not int or not (self.rank == 0 or 2 <= self.rank <= MAX_UNITS):
            raise OptionError(
                f"rank is {one_line(repr(self.rank))}. Allowed: 2 to {MAX_UNITS:,}, or 0 to read it off the shapes. "
                "Type: --init 'maxout?rank=5'"
            )

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return that nothing is a maximum over units, where nothing is."""
        if self._units(architecture, graph):
            return None
        of = f" over {self.rank} units" if self.rank else " over units"
        return f"no weight of it is followed by a maximum{of}, as shapes say. Type: --init he"

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `maxout` before a maximum over units, `he` for other linear maps, `zero` for biases."""
        units = self._units(architecture, graph)
        if not units:
            return complete_rules(architecture, {})
        return linear_map_rules(architecture, graph, lambda each: MAXOUT if each.slot in units else HE)

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Compute one slot after the other."""
        units = self._units(architecture, graph)

        def weights(linear_map: LinearMap, generator: torch.Generator) -> Float[Tensor, "groups out in *kernel"]:
            if linear_map.slot not in units:
                return he_weights(linear_map, generator)
            std = (second_moment(units[linear_map.slot]) * linear_map.fan_in) ** -0.5
            return random_weights(linear_map, std, "normal", generator)

        return fill_linear_maps(architecture, graph, self.rules(architecture, graph), weights, seed=seed)

    def _units(self, architecture: Architecture, graph: Graph) -> dict[str, int]:
        """Return for each weight before a maximum how many units it is taken over, the window of a pool included."""
        flow, maps = Flow(graph), linear_maps_of(graph, architecture.manifest)
        nodes = {each.node: each for each in maps.values()}
        found = {}
        for name, linear_map in maps.items():
            met = flow.reach(flow.after, flow.after[linear_map.node], through=_BETWEEN)
            following = [nodes[node] for node in met if node in nodes]
            if linear_map.followed_by or len(following) != 1:
                continue
            rank, rest = divmod(linear_map.groups * linear_map.out, following[0].groups * following[0].fan)
            if rest == 0 and (rank == self.rank if self.rank else 2 <= rank <= MAX_UNITS):
                pools = [_window(graph.nodes[node]) for node in met if flow.op(node) == "max_pool"]
                found[name] = rank * (pools[0] if pools else 1)
        return found


def _window(pool: Node) -> int:
    """Return the number of positions that a max-pool looks at."""
    kernel = pool.attributes.get("kernel")
    sizes = kernel if isinstance(kernel, tuple) else ()
    dimensions = max(len(pool.shape) - 2, 1)
    return int(np.prod(sizes)) if len(sizes) != 1 else int(sizes[0]) ** dimensions


@cache
def second_moment(units: int) -> float:
    """Return E[max(z_1, ..., z_K)^2] for K independent standard normal numbers.

    >>> round(1 / second_moment(5), 5)
    0.55555
    """
    grid = np.linspace(-12.0, 12.0, 48_001)
    density = np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi)
    below = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))))
    largest = units * density * below ** (units - 1)  # the density of the largest
    return float(np.trapezoid(grid**2 * largest, grid))
