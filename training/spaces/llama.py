"""Llama (Touvron et al., 2023, arXiv:2302.13971): rotary positions, RMSNorm, SwiGLU, grouped queries, no biases."""

from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from training.spaces import families
from training.spaces.design import Span, pick
from training.spaces.text import DEPTHS, HEAD_WIDTHS, LENGTHS, WIDTHS, Logits, TextDesign


@final
@families.register("llama")
@dataclass(frozen=True, kw_only=True)
class Llama(TextDesign):
    """Pre-norm blocks; several query heads may share one of keys and values (Ainslie et al., 2023, 2305.13245)."""

    groups: int  # query heads that share keys and values
    inner: int
    tied: bool

    @classmethod
    def sample(cls, generator: torch.Generator, *, span: Span) -> "Llama":
        """Draw a design."""
        width = pick(generator, WIDTHS[span])
        heads = width // pick(generator, HEAD_WIDTHS)
        return cls(
            resolution=pick(generator, LENGTHS),
            activation="silu",
            width=width,
            depth=pick(generator, DEPTHS[span]),
            heads=heads,
            groups=pick(generator, [group for group in (1, 1, 2, 4) if heads % group == 0]),
            inner=pick(generator, (2, 3, 3)) * width - width // 4,
            tied=pick(generator, (True, False, False)),
        )

    def network(self) -> nn.Module:
        """Build the network."""
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            vocab_size=self.classes,
            hidden_size=self.width,
            num_hidden_layers=self.depth,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads // self.groups,
            intermediate_size=self.inner,
            max_position_embeddings=self.resolution,
            tie_word_embeddings=self.tied,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
        )
        return Logits(LlamaForCausalLM(config), use_cache=False)
