"""Residual networks (He et al., 2016, arXiv:1512.03385), with batch or group norm, basic or bottleneck blocks."""

from dataclasses import dataclass
from typing import Final, Literal, final

import torch
from torch import Tensor, nn

from training.spaces import families
from training.spaces.design import ACTIVATIONS, Design, Norm, Span, Stem, activation, norm, pick, stem

WIDTHS: Final[dict[Span, tuple[int, ...]]] = {
    "small": (16, 24, 32, 48, 64),
    "wide": tuple(range(12, 73, 4)),
    "held_out": (80, 96),
}
DEPTHS: Final[dict[Span, tuple[int, ...]]] = {"small": (1, 1, 2, 3), "wide": (1, 1, 2, 2, 3), "held_out": (4, 5)}


@final
@families.register("resnet")
@dataclass(frozen=True, kw_only=True)
class ResNet(Design):
    """Stages of residual blocks; the width doubles where the side halves."""

    width: int
    depths: tuple[int, ...]
    block: Literal["basic", "bottleneck"]
    norm: Norm
    stem: Stem
    zero_last: bool  # the last norm of a block starts at zero, as timm does

    @classmethod
    def sample(cls, generator: torch.Generator, *, span: Span) -> "ResNet":
        """Draw a design."""
        stages = pick(generator, (2, 3, 3, 4))
        resolution = pick(generator, (16, 16, 32))
        return cls(
            resolution=resolution,
            activation=pick(generator, ACTIVATIONS),
            initialization=pick(generator, ("library", "he", "he")),
            width=pick(generator, WIDTHS[span]),
            depths=tuple(pick(generator, DEPTHS[span]) for _ in range(stages)),
            block=pick(generator, ("basic", "basic", "bottleneck")),
            norm=pick(generator, ("batch", "batch", "group")),
            stem=pick(generator, ("plain", "strided", "pooled") if resolution == 16 else ("strided", "pooled")),
            zero_last=pick(generator, (False, False, True)),
        )

    def network(self) -> nn.Module:
        """Build the network."""
        return _Network(self)

    def build(self) -> nn.Module:
        """Build and initialize the network, and set the last scales to zero where asked."""
        network = super().build()
        for block in network.modules():
            if self.zero_last and isinstance(block, (_Basic, _Bottleneck)):
                last = block.bn2 if isinstance(block, _Basic) else block.bn3
                nn.init.zeros_(last.get_parameter("weight"))
        return network


class _Basic(nn.Module):
    def __init__(self, width: int, out: int, stride: int, design: ResNet) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride, 1, bias=False)
        self.bn1 = norm(design.norm, out)
        self.act = activation(design.activation)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = norm(design.norm, out)
        self.downsample = _shortcut(width, out, stride, design.norm)

    def forward(self, images: Tensor) -> Tensor:
        branch = self.act(self.bn1(self.conv1(images)))
        return self.act(self.bn2(self.conv2(branch)) + self.downsample(images))


class _Bottleneck(nn.Module):
    def __init__(self, width: int, out: int, stride: int, design: ResNet) -> None:
        super().__init__()
        inner = max(8, out // 4)
        self.conv1 = nn.Conv2d(width, inner, 1, bias=False)
        self.bn1 = norm(design.norm, inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
        self.bn2 = norm(design.norm, inner)
        self.conv3 = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = norm(design.norm, out)
        self.act = activation(design.activation)
        self.downsample = _shortcut(width, out, stride, design.norm)

    def forward(self, images: Tensor) -> Tensor:
        branch = self.act(self.bn1(self.conv1(images)))
        branch = self.act(self.bn2(self.conv2(branch)))
        return self.act(self.bn3(self.conv3(branch)) + self.downsample(images))


def _shortcut(width: int, out: int, stride: int, kind: Norm) -> nn.Module:
    if stride == 1 and width == out:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), norm(kind, out))


class _Network(nn.Module):
    def __init__(self, design: ResNet) -> None:
        super().__init__()
        block = _Basic if design.block == "basic" else _Bottleneck
        expansion = 1 if design.block == "basic" else 2
        self.stem = stem(design.stem, design.width, norm_kind=design.norm, act=design.activation)
        self.stages = nn.Sequential()
        width = design.width
        for stage, depth in enumerate(design.depths):
            out = design.width * expansion * 2**stage
            for index in range(depth):
                stride = 2 if index == 0 and stage > 0 else 1
                self.stages.append(block(width, out, stride, design))
                width = out
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, design.classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.pool(self.stages(self.stem(images))).flatten(1))
