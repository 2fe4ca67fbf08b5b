"""Decoders: node states to raw weights. One file per decoder, with its module and its configuration."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from paramgen.hypernets.grouping import Key


class Decoder(nn.Module, ABC):
    """Makes one raw weight, or one pair of raw vectors, of every state; `limits` are its largest (out, in)."""

    limits: tuple[int, int]

    @abstractmethod
    def weights(self, states: Float[Tensor, "slots hidden"], key: Key) -> Float[Tensor, "slots out in kh kw"]:
        """Return kernels of the key's size, or smaller where the decoder ends; the caller tiles them."""

    @abstractmethod
    def vectors(self, states: Float[Tensor, "slots hidden"], key: Key) -> Float[Tensor, "slots 2 width"]:
        """Return per slot the vector for a scale (row 0) and for a bias (row 1)."""
