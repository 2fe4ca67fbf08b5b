"""Xavier initialization: a compromise between keeping the variance forward and backward (Glorot & Bengio, 2010)."""

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.errors import OptionError
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.initializers import initializers
from paramgen.initializers.linear_maps import LinearMapInitializer, LinearMaps, random_weights

XAVIER = "xavier"


@final
@initializers.register("xavier")
@dataclass(frozen=True, kw_only=True)
class Xavier(LinearMapInitializer):
    """Weights of variance 2 / (fan in + fan out) (Glorot & Bengio, 2010); biases zero."""

    distribution: Literal["uniform", "normal"] = "uniform"  # the paper's is uniform (eq. 16)

    def __post_init__(self) -> None:
        if self.distribution not in ("uniform", "normal"):
            raise OptionError(
                f"distribution is {self.distribution!r}. Allowed: uniform and normal. "
                "Type: --init 'xavier?distribution=normal'"
            )

    def rule(self, linear_map: LinearMap) -> str:
        """Return `xavier`."""
        return XAVIER

    def weights(
        self, linear_map: LinearMap, maps: LinearMaps, generator: torch.Generator
    ) -> Float[Tensor, "groups out in *kernel"]:
        """Return weights of variance 2 / (fan in + fan out), eq. 12."""
        std = (2.0 / (linear_map.fan_in + linear_map.fan_out)) ** 0.5
        return random_weights(linear_map, std, self.distribution, generator)
