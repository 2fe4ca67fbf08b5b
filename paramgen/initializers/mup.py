"""muP: the initial weights of the maximal update parametrization (Yang et al., 2022, arXiv:2203.03466).

The rest of muP is not here: learning rates by width belong to training (`compare --lr mup`), the factor on attention
scores to the network.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Final, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.initializers import check_std, initializers
from paramgen.initializers.linear_maps import LinearMapInitializer, LinearMaps, random_weights

MUP = "mup"
MAX_BASE: Final = 1_000_000


@final
@initializers.register("mup")
@dataclass(frozen=True, kw_only=True)
class MaximalUpdate(LinearMapInitializer):
    """Variance 1 / fan-in within, 1 / fan-in squared at the output, queries zero (muP, Yang et al., 2022).

    At a fan-in of `base` both have the standard deviation `std`. A head that is tied to an embedding keeps the
    library's values.
    """

    std: float | int = 0.02
    base: int = 256  # the fan-in of the network whose settings are to be transferred
    queries: Literal["zero", "drawn"] = "zero"  # appendix D.2

    def __post_init__(self) -> None:
        check_std(MUP, self.std)
        if type(self.base) is not int or not 1 <= self.base <= MAX_BASE:
            raise OptionError(
                f"base is {one_line(repr(self.base))}. Allowed: a whole number from 1 to {MAX_BASE:,}. "
                "Type: --init 'mup?base=256'"
            )
        if self.queries not in ("zero", "drawn"):
            raise OptionError(f"queries is {self.queries!r}. Allowed: zero and drawn")

    def rule(self, linear_map: LinearMap) -> str:
        """Return `mup`."""
        return MUP

    def weights(
        self, linear_map: LinearMap, maps: LinearMaps, generator: torch.Generator
    ) -> Float[Tensor, "groups out in *kernel"]:
        """Return normal weights of table 3's std; the rows of queries are zero unless `queries` is `drawn`."""
        weights = random_weights(linear_map, self._std(linear_map), "normal", generator)
        for rows in maps.query_rows.get(linear_map.slot, ()) if self.queries == "zero" else ():
            weights[0, rows] = 0.0
        return weights

    def _std(self, linear_map: LinearMap) -> float:
        """Return the standard deviation (table 3): std sqrt(base / fan-in) within, std base / fan-in at the output."""
        ratio = self.base / linear_map.fan_in
        return self.std * (ratio if linear_map.output else sqrt(ratio))
