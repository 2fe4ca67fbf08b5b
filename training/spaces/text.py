"""What language models of all families share: they read tokens and are transformers' own classes."""

from dataclasses import dataclass
from typing import ClassVar, Final, TypedDict

import torch
from torch import Tensor, nn

from training.spaces.design import Design, Span, Takes, pick

WIDTHS: Final[dict[Span, tuple[int, ...]]] = {
    "small": (32, 64, 96, 128),
    "wide": tuple(range(32, 161, 32)),
    "held_out": (192, 224),
}
DEPTHS: Final[dict[Span, tuple[int, ...]]] = {
    "small": (2, 3, 4),
    "wide": (1, 2, 3, 4, 5, 6),
    "held_out": (7, 8),
}
LENGTHS: Final = (64, 128)
HEAD_WIDTHS: Final = (16, 32, 32)


@dataclass(frozen=True, kw_only=True)
class TextDesign(Design):
    """A language model of blocks with attention."""

    limit: ClassVar[int] = 60_000_000
    takes: ClassVar[Takes] = "text"

    width: int
    depth: int
    heads: int

    def example(self, count: int, device: str) -> Tensor:
        """Return `count` texts of the first token."""
        return torch.zeros(count, self.resolution, dtype=torch.int64, device=device)


class DrawnSizes(TypedDict):
    """What is drawn of a design whose MLP is a multiple of its width."""

    resolution: int
    width: int
    depth: int
    heads: int
    expansion: int


def sizes(generator: torch.Generator, span: Span) -> DrawnSizes:
    """Draw them, in this order: width, resolution, depth, width of a head, expansion."""
    width = pick(generator, WIDTHS[span])
    return DrawnSizes(
        resolution=pick(generator, LENGTHS),
        width=width,
        depth=pick(generator, DEPTHS[span]),
        heads=width // pick(generator, HEAD_WIDTHS),
        expansion=pick(generator, (2, 4, 4)),
    )


class Logits(nn.Module):
    """A model of transformers that takes tokens and returns scores alone; `options` go to its forward pass."""

    def __init__(self, model: nn.Module, **options: bool) -> None:
        super().__init__()
        self.model, self.options = model, options

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the scores of the next token, or of the hidden one, at every position."""
        scores: Tensor = self.model(input_ids=tokens, **self.options).logits
        return scores
