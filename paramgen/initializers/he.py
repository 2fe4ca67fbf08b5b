"""Variance that a rectifier keeps (He et al., 2015, arXiv:1502.01852)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError
from paramgen.graphs.analysis.roles import LinearMap, biases_of, linear_maps_of
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.library import library_elsewhere, start_by_rules
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import Slot

HE = "he"


@final
@initializers.register("he")
@dataclass(frozen=True, kw_only=True)
class He(Initializer):
    """Normal weights whose variance suits the non-linearity that follows (He et al., 2015); biases zero."""

    mode: Literal["fan_in", "fan_out"] = "fan_in"  # keep the variance forward (eq. 10) or backward (eq. 14)
    distribution: Literal["normal", "uniform"] = "normal"

    def __post_init__(self) -> None:
        if self.mode not in ("fan_in", "fan_out"):
            raise OptionError(f"mode is {self.mode!r}. Allowed: fan_in and fan_out. Type: --init 'he?mode=fan_out'")
        if self.distribution not in ("normal", "uniform"):
            raise OptionError(f"distribution is {self.distribution!r}. Allowed: normal and uniform")

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """`he` for the weights of linear maps and convolutions, `zero` for their biases, the library's for the rest."""
        parts = linear_maps_of(graph, architecture.manifest)
        return library_elsewhere(architecture, dict.fromkeys(parts, HE), biases_of(graph, architecture.manifest, parts))

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Draw one slot after the other."""
        parts = linear_maps_of(graph, architecture.manifest)

        def make(slot: Slot) -> Tensor:
            part = parts[slot.name]
            deviation = part.gain / (part.fan_in if self.mode == "fan_in" else part.fan_out) ** 0.5
            return part.stored(drawn(part, deviation, self.distribution, slot_generator(seed, slot.name)), slot)

        return start_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)


def drawn(
    part: LinearMap, deviation: float, distribution: Literal["normal", "uniform"], generator: torch.Generator
) -> Float[Tensor, "groups out in *kernel"]:
    """Return independent entries around zero of a standard deviation."""
    weights = torch.empty(part.groups, part.out, part.fan, *part.kernel)
    if distribution == "normal":
        return weights.normal_(0.0, deviation, generator=generator)
    return weights.uniform_(-(3**0.5) * deviation, 3**0.5 * deviation, generator=generator)
