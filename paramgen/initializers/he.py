"""He initialization: weights whose variance the following rectifier keeps (He et al., 2015, arXiv:1502.01852)."""

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.errors import OptionError
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.initializers import initializers
from paramgen.initializers.linear_maps import LinearMapInitializer, LinearMaps, random_weights

HE = "he"


@final
@initializers.register("he")
@dataclass(frozen=True, kw_only=True)
class He(LinearMapInitializer):
    """Normal weights whose variance suits the non-linearity that follows (He et al., 2015); biases zero."""

    mode: Literal["fan_in", "fan_out"] = "fan_in"  # keep the variance forward (eq. 10) or backward (eq. 14)
    distribution: Literal["normal", "uniform"] = "normal"

    def __post_init__(self) -> None:
        if self.mode not in ("fan_in", "fan_out"):
            raise OptionError(f"mode is {self.mode!r}. Allowed: fan_in and fan_out. Type: --init 'he?mode=fan_out'")
        if self.distribution not in ("normal", "uniform"):
            raise OptionError(f"distribution is {self.distribution!r}. Allowed: normal and uniform")

    def rule(self, linear_map: LinearMap) -> str:
        """Return `he`."""
        return HE

    def weights(
        self, linear_map: LinearMap, maps: LinearMaps, generator: torch.Generator
    ) -> Float[Tensor, "groups out in *kernel"]:
        """Return weights of standard deviation gain / sqrt(fan)."""
        fan = linear_map.fan_in if self.mode == "fan_in" else linear_map.fan_out
        return random_weights(linear_map, linear_map.gain / fan**0.5, self.distribution, generator)
