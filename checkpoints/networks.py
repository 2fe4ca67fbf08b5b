"""What a zoo knows of its network: an architecture of a library, and which slots a concept has of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from paramgen.zoo.low_rank import RIGHT

SIZE: Final = 32
"""Rows and columns of the pictures."""

_STEP: Final = "time_emb"  # what makes something of the step of the noise schedule, which is always 0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """An architecture by its spec and configuration, and how its own library builds it."""

    spec: str
    config: Mapping[str, Any]
    build: Callable[[Mapping[str, Any]], nn.Module]

    def made(self, seed: int) -> nn.Module:
        """Return the network with the library's own start; global random numbers stay as they are."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build(self.config)


def targets(base: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the slots that a concept moves by a product of two factors: all weights of layers."""
    return tuple(
        name for name, each in base.items() if each.ndim > 1 and _STEP not in name and not name.endswith(RIGHT)
    )


def trained(base: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the slots that a concept has as a whole: biases, norms and scales."""
    return tuple(name for name, each in base.items() if each.ndim == 1 and _STEP not in name)
