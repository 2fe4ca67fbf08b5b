"""The network that denoises blocks of weights: a transformer whose tokens are blocks (Gong et al., 2024)."""

from collections.abc import Sequence
from typing import Final, final

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.normalization import AdaLayerNormContinuous
from jaxtyping import Float, Int
from torch import Tensor, nn

from paramgen.diffusion.blocks import MAX_BLOCKS, MAX_WIDTH
from paramgen.errors import PipelineError

MAX_HIDDEN: Final = 4096
MAX_DENOISER_BLOCKS: Final = 64


@final
class WeightDenoiser(ModelMixin, ConfigMixin):
    """Predicts noise, clean weights or velocity, as the scheduler needs it, of noisy blocks, a timestep and a text.

    A token is a block with the embeddings of its index, its layer and its kind; time and text shift and scale every
    normalization (Peebles & Xie, 2023, arXiv:2212.09748). A text of zeros is no text.

    Args:
        width: Values in a block.
        layers: The layer of each block.
        kinds: The kind of each block.
        text_width: Values of a text's embedding.
        hidden: Width of a token.
        depth: Transformer blocks.
        heads: Attention heads.
        dropout: Share of states that training drops.

    """

    @register_to_config
    def __init__(
        self,
        width: int,
        layers: Sequence[int],
        kinds: Sequence[int],
        *,
        text_width: int = 384,
        hidden: int = 128,
        depth: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check(width, layers, kinds, sizes=(text_width, hidden), depth=depth, heads=heads)
        self.read = nn.Linear(width, hidden)
        self.index = nn.Embedding(len(layers), hidden)
        self.layer = nn.Embedding(max(layers) + 1, hidden)
        self.kind = nn.Embedding(max(kinds) + 1, hidden)
        self.wave = Timesteps(hidden, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time = TimestepEmbedding(hidden, hidden)
        self.text = TimestepEmbedding(text_width, hidden)
        self.trunk = nn.ModuleList(
            BasicTransformerBlock(
                hidden,
                heads,
                hidden // heads,
                dropout=dropout,
                activation_fn="gelu",
                norm_type="ada_norm_continuous",
                norm_elementwise_affine=False,
                ada_norm_continous_conditioning_embedding_dim=hidden,
                ada_norm_bias=True,
            )
            for _ in range(depth)
        )
        self.norm = AdaLayerNormContinuous(hidden, hidden, elementwise_affine=False)
        self.write = nn.Linear(hidden, width)
        nn.init.zeros_(self.write.weight)
        nn.init.zeros_(self.write.bias)

    def forward(
        self,
        sample: Float[Tensor, "batch blocks width"],
        timestep: Float[Tensor, " batch"] | Int[Tensor, " batch"],
        text: Float[Tensor, "batch text"],
    ) -> Float[Tensor, "batch blocks width"]:
        """Return the prediction for every block."""
        # A text has length one; its values are brought to the size that layers are made for.
        prompt = self.text(text * self.config["text_width"] ** 0.5)
        condition = self.time(self.wave(timestep).to(sample.dtype)) + prompt
        positions = (
            self.index.weight + self.layer.weight[self.config["layers"]] + self.kind.weight[self.config["kinds"]]
        )
        states = self.read(sample) + positions
        for block in self.trunk:
            states = block(states, added_cond_kwargs={"pooled_text_emb": condition})
        return self.write(self.norm(states, condition))


def _check(
    width: int, layers: Sequence[int], kinds: Sequence[int], *, sizes: tuple[int, ...], depth: int, heads: int
) -> None:
    """Refuse sizes that no shipped denoiser comes near, before any memory is taken."""
    if not 1 <= width <= MAX_WIDTH or not 1 <= len(layers) <= MAX_BLOCKS or len(layers) != len(kinds):
        raise PipelineError(
            f"A denoiser is of {len(layers):,} blocks, {len(kinds):,} kinds and width {width}; allowed are "
            f"1 to {MAX_BLOCKS:,} blocks, a kind for each, and widths of 1 to {MAX_WIDTH:,}."
        )
    if not all(0 <= number < len(layers) for number in (*layers, *kinds)):
        raise PipelineError("A denoiser's layers and kinds are numbers from 0 up to the number of its blocks.")
    if (
        not all(1 <= size <= MAX_HIDDEN for size in sizes)
        or not 1 <= depth <= MAX_DENOISER_BLOCKS
        or heads < 1
        or sizes[-1] % heads
    ):
        raise PipelineError(
            f"A denoiser has widths {sizes}, depth {depth} and {heads} heads; allowed are widths of 1 to "
            f"{MAX_HIDDEN:,}, 1 to {MAX_DENOISER_BLOCKS} blocks, and heads that divide the last width."
        )
