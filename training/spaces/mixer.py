"""MLP-Mixer (Tolstikhin et al., 2021, arXiv:2105.01601): one MLP over tokens, one over channels, in turn."""

from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn

from training.spaces import families
from training.spaces.design import ACTIVATIONS, Design, Span, activation, pick

WIDTHS: Final[dict[Span, tuple[int, ...]]] = {
    "small": (32, 48, 64, 96, 128),
    "wide": tuple(range(32, 145, 16)),
    "held_out": (160, 192),
}


@final
@families.register("mixer")
@dataclass(frozen=True, kw_only=True)
class Mixer(Design):
    """Blocks over patches."""

    width: int
    depth: int
    expansion: int
    patch: int

    @classmethod
    def sample(cls, generator: torch.Generator, *, span: Span) -> "Mixer":
        """Draw a design."""
        resolution = pick(generator, (16, 16, 32))
        return cls(
            resolution=resolution,
            activation=pick(generator, (*ACTIVATIONS, "gelu", "gelu")),
            initialization=pick(generator, ("library", "truncated")),
            width=pick(generator, WIDTHS[span]),
            depth=pick(generator, (7, 8, 9) if span == "held_out" else (2, 3, 4, 5, 6)),
            expansion=pick(generator, (2, 4)),
            patch=pick(generator, (2, 4, 4)) if resolution == 16 else pick(generator, (4, 8)),
        )

    def network(self) -> nn.Module:
        """Build the network."""
        return _Network(self)


class _Mlp(nn.Module):
    def __init__(self, width: int, inner: int, design: Mixer) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.act = activation(design.activation)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(tokens)))


class _Block(nn.Module):
    def __init__(self, count: int, design: Mixer) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(design.width)
        self.mlp_tokens = _Mlp(count, design.expansion * count, design)
        self.norm2 = nn.LayerNorm(design.width)
        self.mlp_channels = _Mlp(design.width, design.expansion * design.width, design)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.mlp_tokens(self.norm1(tokens).transpose(1, 2)).transpose(1, 2)
        return tokens + self.mlp_channels(self.norm2(tokens))


class _Network(nn.Module):
    def __init__(self, design: Mixer) -> None:
        super().__init__()
        count = (design.resolution // design.patch) ** 2
        self.stem = nn.Conv2d(3, design.width, design.patch, design.patch)
        self.blocks = nn.Sequential(*(_Block(count, design) for _ in range(design.depth)))
        self.norm = nn.LayerNorm(design.width)
        self.head = nn.Linear(design.width, design.classes)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.blocks(tokens)).mean(1))
