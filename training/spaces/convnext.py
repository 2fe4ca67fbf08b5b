"""ConvNeXt (Liu et al., 2022, arXiv:2201.03545): large depthwise kernels, LayerNorm, layer scale."""

from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn

from training.spaces import families
from training.spaces.design import ACTIVATIONS, ChannelNorm, Design, Span, activation, pick

WIDTHS: Final[dict[Span, tuple[int, ...]]] = {
    "small": (16, 24, 32, 48, 64),
    "wide": tuple(range(16, 73, 4)),
    "held_out": (80, 96),
}
DEPTHS: Final[dict[Span, tuple[int, ...]]] = {"small": (1, 2, 2, 3), "wide": (1, 2, 2, 3), "held_out": (4, 5)}


@final
@families.register("convnext")
@dataclass(frozen=True, kw_only=True)
class ConvNext(Design):
    """Stages of depthwise blocks; a norm and a strided convolution between stages."""

    width: int
    depths: tuple[int, ...]
    kernel: int
    patch: int
    layer_scale: float  # 0: none

    @classmethod
    def sample(cls, generator: torch.Generator, *, span: Span) -> "ConvNext":
        """Draw a design."""
        resolution = pick(generator, (16, 16, 32))
        return cls(
            resolution=resolution,
            activation=pick(generator, (*ACTIVATIONS, "gelu", "gelu")),
            initialization=pick(generator, ("library", "truncated", "truncated")),
            width=pick(generator, WIDTHS[span]),
            depths=tuple(pick(generator, DEPTHS[span]) for _ in range(pick(generator, (2, 3)))),
            kernel=pick(generator, (5, 7)),
            patch=2 if resolution == 16 else 4,
            layer_scale=pick(generator, (0.0, 1e-6, 1e-6, 0.1)),
        )

    def network(self) -> nn.Module:
        """Build the network."""
        return _Network(self)


class _Block(nn.Module):
    def __init__(self, width: int, design: ConvNext) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, design.kernel, padding=design.kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, 4 * width)
        self.act = activation(design.activation)
        self.fc2 = nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), design.layer_scale)) if design.layer_scale else None

    def forward(self, images: Tensor) -> Tensor:
        branch = self.norm(self.conv_dw(images).permute(0, 2, 3, 1))
        branch = self.fc2(self.act(self.fc1(branch)))
        if self.gamma is not None:
            branch = branch * self.gamma
        return images + branch.permute(0, 3, 1, 2)


class _Network(nn.Module):
    def __init__(self, design: ConvNext) -> None:
        super().__init__()
        width = design.width
        self.stem = nn.Sequential(nn.Conv2d(3, width, design.patch, design.patch), ChannelNorm(width, eps=1e-6))
        self.stages = nn.Sequential()
        for stage, depth in enumerate(design.depths):
            if stage > 0:
                self.stages.append(
                    nn.Sequential(ChannelNorm(width, eps=1e-6), nn.Conv2d(width, 2 * width, 2, 2)),
                )
                width = 2 * width
            self.stages.extend(_Block(width, design) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, design.classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(self.stages(self.stem(images)).mean((2, 3))))
