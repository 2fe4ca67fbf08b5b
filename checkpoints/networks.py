"""The architecture of a zoo's networks, and which of its slots a task trains."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from paramgen.zoo.low_rank import RIGHT

SIZE: Final = 32
"""Rows and columns of the pictures."""

_TIMESTEP: Final = "time_emb"  # layers that embed the timestep, which is always 0 here


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ZooNetwork:
    """An architecture by its spec and configuration, and how its own library builds it."""

    spec: str
    config: Mapping[str, Any]
    build: Callable[[Mapping[str, Any]], nn.Module]

    def initialized(self, seed: int) -> nn.Module:
        """Return the network with its default initialization; the global random state stays as it is."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build(self.config)


def targets(base: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the slots that a task updates by a low-rank product: the weights of all layers."""
    return tuple(
        name for name, each in base.items() if each.ndim > 1 and _TIMESTEP not in name and not name.endswith(RIGHT)
    )


def trained(base: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the slots that a task trains as a whole: biases, norms and scales."""
    return tuple(name for name, each in base.items() if each.ndim == 1 and _TIMESTEP not in name)
