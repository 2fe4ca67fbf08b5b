"""GPT-2 (Radford et al., 2019): learned positions, LayerNorm before each part, one fused projection, GELU."""

from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from training.spaces import families
from training.spaces.design import Span, pick
from training.spaces.text import Logits, TextDesign, sizes


@final
@families.register("gpt2")
@dataclass(frozen=True, kw_only=True)
class Gpt2(TextDesign):
    """Pre-norm blocks; the head is the table of tokens, as a rule."""

    expansion: int
    tied: bool

    @classmethod
    def sample(cls, generator: torch.Generator, *, span: Span) -> "Gpt2":
        """Draw a design."""
        return cls(**sizes(generator, span), tied=pick(generator, (True, True, False)))

    def network(self) -> nn.Module:
        """Build the network."""
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(
            vocab_size=self.classes,
            n_positions=self.resolution,
            n_embd=self.width,
            n_layer=self.depth,
            n_head=self.heads,
            n_inner=self.expansion * self.width,
            tie_word_embeddings=self.tied,
            bos_token_id=None,
            eos_token_id=None,
        )
        return Logits(GPT2LMHeadModel(config), use_cache=False)
