"""Vision transformers (Dosovitskiy et al., 2020, arXiv:2010.11929): class token or mean, split or fused projections."""

from dataclasses import dataclass
from typing import Final, Literal, final

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
@families.register("vit")
@dataclass(frozen=True, kw_only=True)
class Vit(Design):
    """Pre-norm blocks over patches."""

    width: int
    depth: int
    heads: int
    expansion: int
    patch: int
    pool: Literal["token", "mean"]
    attention: Literal["fused", "module", "split"]  # timm's linear, torch's module, transformers' three linears

    @classmethod
    def sample(cls, generator: torch.Generator, *, span: Span) -> "Vit":
        """Draw a design."""
        resolution = pick(generator, (16, 16, 32))
        width = pick(generator, WIDTHS[span])
        return cls(
            resolution=resolution,
            activation=pick(generator, (*ACTIVATIONS, "gelu", "gelu")),
            initialization=pick(generator, ("library", "truncated", "truncated")),
            width=width,
            depth=pick(generator, (7, 8, 9) if span == "held_out" else (2, 3, 4, 5, 6)),
            heads=pick(generator, (2, 4) if width < 96 else (4, 8)),
            expansion=pick(generator, (2, 4, 4)),
            patch=pick(generator, (2, 4, 4)) if resolution == 16 else pick(generator, (4, 8)),
            pool=pick(generator, ("token", "mean")),
            attention=pick(generator, ("fused", "module", "split")),
        )

    def network(self) -> nn.Module:
        """Build the network."""
        return _Network(self)


class _Fused(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        parts = self.qkv(tokens).reshape(batch, count, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)  # (batch, heads, tokens, width of a head) each
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, width))


class _Split(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        shape = (batch, count, self.heads, width // self.heads)
        query, key, value = (part(tokens).view(shape).transpose(1, 2) for part in (self.query, self.key, self.value))
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.output(mixed.transpose(1, 2).reshape(batch, count, width))


class _Module(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.self_attention(tokens, tokens, tokens, need_weights=False)[0]


class _Block(nn.Module):
    def __init__(self, design: Vit) -> None:
        super().__init__()
        width = design.width
        attention = {"fused": _Fused, "split": _Split, "module": _Module}[design.attention]
        self.norm1 = nn.LayerNorm(width)
        self.attn = attention(width, design.heads)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, design.expansion * width)
        self.act = activation(design.activation)
        self.fc2 = nn.Linear(design.expansion * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.fc2(self.act(self.fc1(self.norm2(tokens))))


class _Network(nn.Module):
    def __init__(self, design: Vit) -> None:
        super().__init__()
        width = design.width
        count = (design.resolution // design.patch) ** 2 + (design.pool == "token")
        self.patch_embed = nn.Conv2d(3, width, design.patch, design.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if design.pool == "token" else None
        self.pos_embed = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, count, width), std=0.02))
        self.blocks = nn.Sequential(*(_Block(design) for _ in range(design.depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, design.classes)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patch_embed(images).flatten(2).transpose(1, 2)
        if self.cls_token is not None:
            tokens = torch.cat((self.cls_token.expand(len(tokens), -1, -1), tokens), dim=1)
        tokens = self.norm(self.blocks(tokens + self.pos_embed))
        return self.head(tokens[:, 0] if self.cls_token is not None else tokens.mean(1))
