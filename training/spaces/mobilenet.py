"""Inverted residuals with depthwise convolutions (MobileNetV2, arXiv:1801.04381; squeeze-excitation as in V3)."""

from dataclasses import dataclass
from typing import ClassVar, Final, final

import torch
from torch import Tensor, nn

from training.spaces import families
from training.spaces.design import ACTIVATIONS, Design, Norm, Span, Stem, activation, between, norm, pick, stem

WIDTHS: Final[dict[Span, tuple[int, ...]]] = {
    "small": (12, 16, 24, 32),
    "wide": tuple(range(12, 37, 4)),
    "held_out": (40, 48),
}


@final
@families.register("mobilenet")
@dataclass(frozen=True, kw_only=True)
class MobileNet(Design):
    """Stages of inverted residuals, and a wide 1×1 convolution before the mean."""

    # Depthwise convolutions and wide activations make each multiplication dearer than elsewhere.
    limit: ClassVar[int] = 1_200_000

    width: int
    depths: tuple[int, ...]
    expansion: int
    kernel: int
    squeeze: bool
    norm: Norm
    stem: Stem

    @classmethod
    def sample(cls, generator: torch.Generator, *, span: Span) -> "MobileNet":
        """Draw a design."""
        resolution = pick(generator, (16, 16, 32))
        return cls(
            resolution=resolution,
            activation=pick(generator, ACTIVATIONS),
            initialization=pick(generator, ("library", "he", "he")),
            width=pick(generator, WIDTHS[span]),
            depths=tuple(
                between(generator, *((4, 5) if span == "held_out" else (1, 3))) for _ in range(pick(generator, (2, 3)))
            ),
            expansion=pick(generator, (2, 3, 4, 6)),
            kernel=pick(generator, (3, 3, 5)),
            squeeze=pick(generator, (False, True)),
            norm=pick(generator, ("batch", "batch", "batch", "group")),
            stem=pick(generator, ("plain", "strided") if resolution == 16 else ("strided",)),
        )

    def network(self) -> nn.Module:
        """Build the network."""
        return _Network(self)


class _Squeeze(nn.Module):
    def __init__(self, width: int, inner: int, design: MobileNet) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(width, inner, 1)
        self.act = activation(design.activation)
        self.fc2 = nn.Conv2d(inner, width, 1)

    def forward(self, images: Tensor) -> Tensor:
        return images * self.fc2(self.act(self.fc1(self.pool(images)))).sigmoid()


class _Block(nn.Module):
    def __init__(self, width: int, out: int, stride: int, design: MobileNet) -> None:
        super().__init__()
        inner = width * design.expansion
        self.residual = stride == 1 and width == out
        self.conv_pw = nn.Conv2d(width, inner, 1, bias=False)
        self.bn1 = norm(design.norm, inner)
        self.act1 = activation(design.activation)
        self.conv_dw = nn.Conv2d(inner, inner, design.kernel, stride, design.kernel // 2, groups=inner, bias=False)
        self.bn2 = norm(design.norm, inner)
        self.act2 = activation(design.activation)
        self.se = _Squeeze(inner, max(4, width // 4), design) if design.squeeze else nn.Identity()
        self.conv_pwl = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = norm(design.norm, out)

    def forward(self, images: Tensor) -> Tensor:
        branch = self.act1(self.bn1(self.conv_pw(images)))
        branch = self.se(self.act2(self.bn2(self.conv_dw(branch))))
        branch = self.bn3(self.conv_pwl(branch))
        return images + branch if self.residual else branch


class _Network(nn.Module):
    def __init__(self, design: MobileNet) -> None:
        super().__init__()
        width = design.width
        self.stem = stem(design.stem, width, norm_kind=design.norm, act=design.activation)
        self.blocks = nn.Sequential()
        for stage, depth in enumerate(design.depths):
            out = design.width * (stage + 1)
            for index in range(depth):
                self.blocks.append(_Block(width, out, 2 if index == 0 and stage > 0 else 1, design))
                width = out
        self.conv_head = nn.Sequential(
            nn.Conv2d(width, 4 * width, 1, bias=False), norm(design.norm, 4 * width), activation(design.activation)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(4 * width, design.classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.pool(self.conv_head(self.blocks(self.stem(images)))).flatten(1))
