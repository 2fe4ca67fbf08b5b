"""The prompts that a pipeline was trained on, to measure how similar a new prompt is to them."""

from collections.abc import Sequence
from typing import Final, final

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Float
from torch import Tensor, nn

from paramgen.errors import PipelineError

MAX_KNOWN_TEXTS: Final = 20_000


@final
class KnownPrompts(ModelMixin, ConfigMixin):
    """The training prompts (in config.json) and their embeddings (in the weights).

    Args:
        texts: All phrasings of the tasks of the zoo.
        width: Values of an embedding.
        near: The similarity of an unseen prompt to its nearest text below which it is called far.

    """

    @register_to_config
    def __init__(self, texts: Sequence[str], width: int = 384, near: float = 0.5) -> None:
        super().__init__()
        if not 1 <= len(texts) <= MAX_KNOWN_TEXTS:
            raise PipelineError(f"A pipeline knows {len(texts):,} texts; allowed are 1 to {MAX_KNOWN_TEXTS:,}.")
        self.embeddings = nn.Parameter(torch.zeros(len(texts), width), requires_grad=False)

    def nearest(self, text: Float[Tensor, " text"], count: int = 3) -> list[tuple[str, float]]:
        """Return the texts most similar to an embedding, with their cosine similarity."""
        embeddings = nn.functional.normalize(self.embeddings.float(), dim=1)
        similar = embeddings @ nn.functional.normalize(text.float(), dim=0)
        found = similar.topk(min(count, len(similar)))
        return [
            (self.config["texts"][index], round(value, 4))
            for value, index in zip(found.values.tolist(), found.indices.tolist(), strict=True)
        ]
