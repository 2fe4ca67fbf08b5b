"""Low-rank decoder: node states to weight factors (LoGAH, Zhou et al., 2024, arXiv:2405.16287)."""

from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from paramgen.hypernets.checks import within
from paramgen.hypernets.decoders import Decoder
from paramgen.hypernets.grouping import Key


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class LowRankConfig:
    """Sizes of a `LowRank` decoder."""

    rank: int
    width: int  # rows of a factor: the largest out * kh, and the largest in * kw
    max_out: int
    max_in: int
    scaled: bool  # divide by sqrt(rank), so that random factors give weights of unit size

    def __post_init__(self) -> None:
        within("decoder.rank", self.rank, 1, 1024)
        within("decoder.width", self.width, 2, 1 << 17)
        within("decoder.max_out", self.max_out, 1, self.width)
        within("decoder.max_in", self.max_in, 1, self.width)

    def build(self, hidden: int) -> "LowRank":
        """Return the decoder for states of `hidden` columns."""
        return LowRank(self, hidden)


@final
class LowRank(Decoder):
    """A weight is the product of two factors of rank `rank`, cut from one matrix that the state expands to."""

    def __init__(self, config: LowRankConfig, hidden: int) -> None:
        super().__init__()
        self.config = config
        self.limits = (config.max_out, config.max_in)
        self.mlp = nn.Sequential(
            nn.Linear(hidden, 4 * hidden),
            nn.ReLU(),
            nn.Linear(4 * hidden, 8 * hidden),
            nn.ReLU(),
            nn.Linear(8 * hidden, 2 * config.rank**2),
            nn.ReLU(),
        )
        self.expand = nn.Linear(config.rank, config.width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize the layers to give factors of unit variance for normalised states (He et al., 2015)."""
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        nn.init.kaiming_normal_(self.expand.weight, nonlinearity="linear")
        nn.init.zeros_(self.expand.bias)

    def weights(self, states: Float[Tensor, "slots hidden"], key: Key) -> Float[Tensor, "slots out in kh kw"]:
        """Return U Vᵀ of the size that key and factors allow."""
        out, inputs = min(key.out, self.config.width // key.kh), min(key.inputs, self.config.width // key.kw)
        product = self._product(states, out * key.kh, inputs * key.kw)
        return product.view(-1, out, key.kh, inputs, key.kw).transpose(2, 3)

    def vectors(self, states: Float[Tensor, "slots hidden"], key: Key) -> Float[Tensor, "slots 2 width"]:
        """Return a weight of one column, its first half for the scale, its second for the bias."""
        size = min(key.out, self.config.width // 2)
        return self._product(states, 2 * size, 1).view(-1, 2, size)

    def _product(self, states: Float[Tensor, "slots hidden"], rows: int, columns: int) -> Float[Tensor, "slots out in"]:
        rank = self.config.rank
        left, right = self.mlp(states).view(-1, 2, rank, rank).unbind(1)  # (slots, rank, rank) each
        first = self._factor(left, rows)
        if self.config.scaled:
            first = first * rank**-0.5
        return first @ self._factor(right, columns).transpose(1, 2)

    def _factor(self, seed: Float[Tensor, "slots rank rank"], rows: int) -> Float[Tensor, "slots rows rank"]:
        """Return the first `rows` rows of a factor.

        The published decoder reads the expanded (rank, width) matrix as (width, rank), row after row, so the first
        rows of a factor need only the first rows of `seed`.
        """
        rank, width = self.config.rank, self.config.width
        needed = -(-rows * rank // width)
        expanded = self.expand(seed[:, :needed])  # (slots, needed, width)
        return expanded.flatten(1)[:, : rows * rank].view(-1, rows, rank)
