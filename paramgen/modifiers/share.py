"""Sharing: all weights are made of a few numbers (STABLE-RPS: Desai & Shrivastava, 2024, arXiv:2310.11611).

A hash spreads them over all layers. It saves memory of parameters and what is sent of them, but no time.
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Final, final

import torch

from paramgen.errors import OptionError
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.modifiers import SHARED_NUMBERS, Constrained, NetworkModifier, modifiers
from paramgen.modifiers.masking.criteria import WholeNetwork
from paramgen.modifiers.masking.options import check_count, check_share
from paramgen.modifiers.sharing.layout import Layout
from paramgen.modifiers.sharing.memory import SharedMemory
from paramgen.slots.init_program import one_thread, slot_generator

SHARE: Final = "share"
MAX_CHUNK: Final = 4096


@final
@modifiers.register(SHARE)
@dataclass(frozen=True, kw_only=True)
class WeightSharing(NetworkModifier):
    """All weights share a few random numbers, share?keep=0.01 (Desai & Shrivastava, 2024).

    Weights of linear layers and convolutions are counted together. Each is one entry of a memory of normal numbers,
    times a random sign and the size that its layer's weights had. In training, `paramgen.shared` keeps it so.
    """

    structure: ClassVar[str] = SHARED_NUMBERS

    keep: float | int = 0.01  # how many numbers there are, as a share of these weights
    chunk: int = 1  # neighbouring weights that share neighbouring numbers

    def __post_init__(self) -> None:
        check_share(SHARE, "keep", self.keep)
        check_count(SHARE, "chunk", self.chunk, most=MAX_CHUNK)

    def changes(self, linear_map: LinearMap) -> bool:
        """Every weight of a linear map takes part."""
        return True

    @torch.no_grad()
    def change_together(self, network: WholeNetwork) -> Constrained:
        """Return the network with the weights that the memory makes."""
        shapes = {name: tuple(network.tensors[name].shape) for name in network.maps}
        wanted = max(1, round(self.keep * sum(map(prod, shapes.values()))))
        if self.chunk > wanted:
            raise OptionError(
                f"chunk is {self.chunk}, and all weights share {wanted:,} numbers, fewer than one chunk. "
                f"Type: --then '{SHARE}?keep={self.keep}&chunk={wanted}'"
            )
        entries = -(-wanted // self.chunk) * self.chunk
        shared = SharedMemory(
            layout=Layout(seed=network.seed, entries=entries, chunk=self.chunk, shapes=shapes),
            memory=torch.randn(entries, generator=slot_generator(network.seed, "", stream="share:memory")),
            scales=_root_mean_squares(network),
        )
        made = {name: each.to(network.tensors[name].dtype) for name, each in shared.weights().items()}
        return Constrained(tensors={**network.tensors, **made}, constraint=shared)

    def undoes(self, structure: str) -> bool:
        """Other values undo every structure."""
        return True


@one_thread()
def _root_mean_squares(network: WholeNetwork) -> torch.Tensor:
    """Return the size of each weight's values: their std about zero, which is above zero where they are all alike."""
    return torch.stack([network.tensors[name].double().square().mean().sqrt() for name in network.maps])
