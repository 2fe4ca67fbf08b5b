"""EfficientNets (Tan & Le, 2019, arXiv:1905.11946): inverted residuals, squeeze-excitation, SiLU and batch norm."""

from dataclasses import dataclass
from typing import ClassVar, Final, final

import torch
from torch import Tensor, nn

from training.spaces import families
from training.spaces.design import Design, Span, between, pick

WIDTHS: Final[dict[Span, tuple[int, ...]]] = {
    "small": (8, 12, 16, 24),
    "wide": tuple(range(8, 29, 4)),
    "held_out": (32, 40),
}


@final
@families.register("efficientnet")
@dataclass(frozen=True, kw_only=True)
class EfficientNet(Design):
    """Stages of inverted residuals with a kernel each, the first one not expanded; a wide 1×1 convolution last."""

    # Depthwise convolutions and wide activations make each multiplication dearer than elsewhere.
    limit: ClassVar[int] = 1_200_000

    width: int
    depths: tuple[int, ...]
    kernels: tuple[int, ...]
    expansion: int
    head: int  # the last convolution is so many times as wide as the last stage
    stride: int  # of the stem

    @classmethod
    def sample(cls, generator: torch.Generator, *, span: Span) -> "EfficientNet":
        """Draw a design."""
        resolution = pick(generator, (16, 16, 32))
        stages = pick(generator, (2, 3, 3, 4))
        return cls(
            resolution=resolution,
            activation="silu",
            initialization=pick(generator, ("library", "he", "he")),
            width=pick(generator, WIDTHS[span]),
            depths=tuple(between(generator, *((4, 5) if span == "held_out" else (1, 3))) for _ in range(stages)),
            kernels=tuple(pick(generator, (3, 3, 5)) for _ in range(stages)),
            expansion=pick(generator, (4, 6)),
            head=pick(generator, (2, 4)),
            stride=pick(generator, (1, 2)) if resolution == 16 else 2,
        )

    def network(self) -> nn.Module:
        """Build the network."""
        return _Network(self)


class _Squeeze(nn.Module):
    """Squeeze-excitation, with a bottleneck of a quarter of the block's input."""

    def __init__(self, width: int, reduced: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(width, reduced, 1)
        self.act1 = nn.SiLU()
        self.conv_expand = nn.Conv2d(reduced, width, 1)

    def forward(self, images: Tensor) -> Tensor:
        squeezed = images.mean((2, 3), keepdim=True)
        return images * self.conv_expand(self.act1(self.conv_reduce(squeezed))).sigmoid()


class _Block(nn.Module):
    def __init__(self, width: int, out: int, *, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = expansion * width
        self.residual = stride == 1 and width == out
        self.expand = _convolution(width, inner, 1) if expansion > 1 else nn.Identity()
        self.conv_dw = nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.act2 = nn.SiLU()
        self.se = _Squeeze(inner, max(4, width // 4))
        self.conv_pwl = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)

    def forward(self, images: Tensor) -> Tensor:
        branch = self.se(self.act2(self.bn2(self.conv_dw(self.expand(images)))))
        branch = self.bn3(self.conv_pwl(branch))
        return images + branch if self.residual else branch


def _convolution(width: int, out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(width, out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.SiLU())


class _Network(nn.Module):
    def __init__(self, design: EfficientNet) -> None:
        super().__init__()
        width = design.width
        self.stem = _convolution(3, width, 3, design.stride)
        self.blocks = nn.Sequential()
        for stage, (depth, kernel) in enumerate(zip(design.depths, design.kernels, strict=True)):
            out = design.width * (stage + 1)
            for index in range(depth):
                expansion = design.expansion if stage > 0 else 1
                stride = 2 if index == 0 and stage > 0 else 1
                self.blocks.append(_Block(width, out, expansion=expansion, kernel=kernel, stride=stride))
                width = out
        self.conv_head = _convolution(width, design.head * width, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(design.head * width, design.classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.pool(self.conv_head(self.blocks(self.stem(images)))).flatten(1))
