"""Low-rank decoder with a network of its own for vectors (LoGAH's code, Zhou et al., 2024, `--use_1d_decoder`)."""

from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from paramgen.hypernets.checks import within
from paramgen.hypernets.decoders import Decoder
from paramgen.hypernets.decoders.low_rank import LowRankConfig
from paramgen.hypernets.grouping import Key


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class LowRankVectorsConfig:
    """Sizes of a `LowRankVectors` decoder."""

    rank: int
    width: int  # rows of a factor: the largest out * kh, and the largest in * kw
    max_out: int
    max_in: int
    classes: int  # outputs of the last layer

    def __post_init__(self) -> None:
        self.matrices()
        within("decoder.classes", self.classes, 1, 1 << 18)

    def matrices(self) -> LowRankConfig:
        """Return the sizes of what makes the weights."""
        return LowRankConfig(rank=self.rank, width=self.width, max_out=self.max_out, max_in=self.max_in, scaled=False)

    def build(self, hidden: int) -> "LowRankVectors":
        """Return the decoder for states of `hidden` columns."""
        return LowRankVectors(self, hidden)


@final
class LowRankVectors(Decoder):
    """Weights are products of factors; scales and biases have half as many elements as the states, and repeat."""

    def __init__(self, config: LowRankVectorsConfig, hidden: int) -> None:
        super().__init__()
        self.config = config
        self.limits = (config.max_out, config.max_in)
        self.matrix = config.matrices().build(hidden)
        self.vector = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, 2 * (hidden // 2)))
        self.class_vector = nn.Linear(hidden // 2, config.classes)

    def weights(self, states: Float[Tensor, "slots hidden"], key: Key) -> Float[Tensor, "slots out in kh kw"]:
        """Return what the low-rank decoder makes."""
        return self.matrix.weights(states, key)

    def vectors(self, states: Float[Tensor, "slots hidden"], key: Key) -> Float[Tensor, "slots 2 width"]:
        """Return the pair of vectors; their length is the decoder's, not the key's."""
        pairs = self.vector(states).view(len(states), 2, -1)
        return self.class_vector(functional.relu(pairs)) if key.classes else pairs
