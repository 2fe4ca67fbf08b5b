"""Layer index rescaling: the deeper a layer, the smaller its weights (Owen et al., 2025, arXiv:2503.17500)."""

from dataclasses import dataclass
from math import sqrt
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.errors import OptionError
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.initializers import check_std, initializers
from paramgen.initializers.linear_maps import LinearMapInitializer, LinearMaps, random_weights
from paramgen.language.families import layer_of
from paramgen.slots.init_program import one_thread

LIR = "lir"


@final
@initializers.register("lir")
@dataclass(frozen=True, kw_only=True)
class LayerIndex(LinearMapInitializer):
    """Normal weights whose std in layer l is divided by sqrt(l), l from 1 (Owen et al., 2025).

    Layers are numbered as in the slots' names. The paper took 0.006 for a Llama of 1B parameters.
    """

    std: float | int = 0.02
    exact: bool = True
    """Whether each matrix is rescaled to exactly its std, as the paper's target variance rescaling does repeatedly in
    training."""

    def __post_init__(self) -> None:
        check_std(LIR, self.std)
        if not isinstance(self.exact, bool):
            raise OptionError(f"exact is {self.exact!r}. Allowed: true and false")

    def rule(self, linear_map: LinearMap) -> str:
        """Return `lir`."""
        return LIR

    def weights(
        self, linear_map: LinearMap, maps: LinearMaps, generator: torch.Generator
    ) -> Float[Tensor, "groups out in *kernel"]:
        """Return weights of std / sqrt(l) in layer l, exactly that of each matrix if `exact`."""
        std = self.std / sqrt((layer_of(linear_map.slot) or 0) + 1)
        weights = random_weights(linear_map, std, "normal", generator)
        if self.exact and (root := _root_mean_square(weights)) > 0:
            weights *= std / root
        return weights


@one_thread()
def _root_mean_square(weights: Tensor) -> float:
    return float(weights.double().square().mean().sqrt())
