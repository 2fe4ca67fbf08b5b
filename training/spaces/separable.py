"""Depthwise and pointwise convolutions without residuals (MobileNet, arXiv:1704.04861; PP-LCNet, 2109.15099)."""

from dataclasses import dataclass
from typing import ClassVar, Final, final

import torch
from torch import Tensor, nn

from training.spaces import families
from training.spaces.design import ACTIVATIONS, Design, Norm, Span, SqueezeExcitation, activation, norm, pick, stem

WIDTHS: Final[dict[Span, tuple[int, ...]]] = {
    "small": (8, 12, 16, 24),
    "wide": tuple(range(8, 33, 4)),
    "held_out": (40, 48),
}
DEPTHS: Final[dict[Span, tuple[int, ...]]] = {"small": (1, 1, 2), "wide": (1, 1, 2, 3), "held_out": (4, 5)}


@final
@families.register("separable")
@dataclass(frozen=True, kw_only=True)
class Separable(Design):
    """Stages of depthwise and pointwise convolutions, gated in the last stages, and a wide layer behind the mean."""

    # Depthwise convolutions make each multiplication dearer than elsewhere.
    limit: ClassVar[int] = 1_200_000

    width: int
    depths: tuple[int, ...]
    kernel: int  # in the last two stages; 3 before
    gated: int  # the last so many stages have squeeze-excitation
    head: int  # width of the layer behind the mean; 0: none
    norm: Norm

    @classmethod
    def sample(cls, generator: torch.Generator, *, span: Span) -> "Separable":
        """Draw a design."""
        return cls(
            resolution=pick(generator, (16, 16, 32)),
            activation=pick(generator, ACTIVATIONS),
            initialization=pick(generator, ("library", "he")),
            width=pick(generator, WIDTHS[span]),
            depths=tuple(pick(generator, DEPTHS[span]) for _ in range(pick(generator, (3, 4, 5)))),
            kernel=pick(generator, (3, 5)),
            gated=pick(generator, (0, 1, 2)),
            head=pick(generator, (0, 128, 256)),
            norm=pick(generator, ("batch", "batch", "batch", "group")),
        )

    def network(self) -> nn.Module:
        """Build the network."""
        return _Network(self)


def _block(width: int, out: int, stride: int, design: Separable, *, late: bool, gated: bool) -> list[nn.Module]:
    kernel = design.kernel if late else 3
    return [
        nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width, bias=False),
        norm(design.norm, width),
        activation(design.activation),
        *([SqueezeExcitation(width, design.activation)] if gated else []),
        nn.Conv2d(width, out, 1, bias=False),
        norm(design.norm, out),
        activation(design.activation),
    ]


class _Network(nn.Module):
    def __init__(self, design: Separable) -> None:
        super().__init__()
        width = design.width
        self.stem = stem("strided", width, norm_kind=design.norm, act=design.activation)
        self.blocks = nn.Sequential()
        stages = len(design.depths)
        for stage, depth in enumerate(design.depths):
            late, gated = stage >= stages - 2, stage >= stages - design.gated
            for index in range(depth):
                last = index == depth - 1
                out = 2 * width if last else width
                stride = 2 if last and stage > 0 else 1
                self.blocks.extend(_block(width, out, stride, design, late=late, gated=gated))
                width = out
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv_head = nn.Conv2d(width, design.head, 1) if design.head else None
        self.act = activation(design.activation)
        self.classifier = nn.Linear(design.head or width, design.classes)

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.pool(self.blocks(self.stem(images)))
        if self.conv_head is not None:
            pooled = self.act(self.conv_head(pooled))
        return self.classifier(pooled.flatten(1))
