"""GPT-2's initialization: smaller weights at the ends of residual branches (Radford et al., 2019, section 2.3)."""

from dataclasses import dataclass
from math import sqrt
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.graphs.analysis.roles import LinearMap
from paramgen.initializers import check_std, initializers
from paramgen.initializers.linear_maps import LinearMapInitializer, LinearMaps, random_weights

SCALED = "scaled"


@final
@initializers.register("scaled")
@dataclass(frozen=True, kw_only=True)
class Scaled(LinearMapInitializer):
    """Normal weights of one std; at the end of each of N residual branches divided by sqrt(N) (Radford et al., 2019).

    A transformer block has two branches, so N is twice the number of layers.
    """

    std: float | int = 0.02

    def __post_init__(self) -> None:
        check_std(SCALED, self.std)

    def rule(self, linear_map: LinearMap) -> str:
        """Return `scaled`."""
        return SCALED

    def weights(
        self, linear_map: LinearMap, maps: LinearMaps, generator: torch.Generator
    ) -> Float[Tensor, "groups out in *kernel"]:
        """Return weights of `std`, divided by sqrt(N) at the end of one of N residual branches."""
        std = self.std / sqrt(maps.branches) if linear_map.last_of_branch else float(self.std)
        return random_weights(linear_map, std, "normal", generator)
