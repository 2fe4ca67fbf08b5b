"""BERT (Devlin et al., 2019, arXiv:1810.04805): both directions, learned positions, LayerNorm after each part, GELU."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import nn

from training.spaces import families
from training.spaces.design import Span
from training.spaces.text import Logits, TextDesign, sizes


@final
@families.register("bert")
@dataclass(frozen=True, kw_only=True)
class Bert(TextDesign):
    """Post-norm blocks that tell hidden tokens; the head is the table of tokens."""

    hides: ClassVar[bool] = True

    expansion: int

    @classmethod
    def sample(cls, generator: torch.Generator, *, span: Span) -> "Bert":
        """Draw a design."""
        return cls(**sizes(generator, span))

    def network(self) -> nn.Module:
        """Build the network."""
        from transformers import BertConfig, BertForMaskedLM

        config = BertConfig(
            vocab_size=self.classes,
            max_position_embeddings=self.resolution,
            hidden_size=self.width,
            num_hidden_layers=self.depth,
            num_attention_heads=self.heads,
            intermediate_size=self.expansion * self.width,
            type_vocab_size=1,
            pad_token_id=None,
        )
        return Logits(BertForMaskedLM(config))
