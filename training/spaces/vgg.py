"""Plain convolutional networks (Simonyan & Zisserman, 2014, arXiv:1409.1556), with and without norm."""

from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn

from training.spaces import families
from training.spaces.design import ACTIVATIONS, Design, Norm, Span, activation, norm, pick

WIDTHS: Final[dict[Span, tuple[int, ...]]] = {
    "small": (12, 16, 24, 32, 40),
    "wide": tuple(range(12, 45, 4)),
    "held_out": (48, 64),
}
DEPTHS: Final[dict[Span, tuple[int, ...]]] = {"small": (1, 1, 2), "wide": (1, 1, 2, 2), "held_out": (3, 4)}


@final
@families.register("vgg")
@dataclass(frozen=True, kw_only=True)
class Vgg(Design):
    """Stages of 3×3 convolutions, each stage ending in a pool; a mean or a hidden layer before the classes."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    norm: Norm
    hidden: int  # width of the hidden layer of the classifier; 0: the mean over positions goes to the classes

    @classmethod
    def sample(cls, generator: torch.Generator, *, span: Span) -> "Vgg":
        """Draw a design."""
        resolution = pick(generator, (16, 16, 32))
        stages = pick(generator, (2, 3)) + (resolution == 32)
        width = pick(generator, WIDTHS[span])
        return cls(
            resolution=resolution,
            activation=pick(generator, ACTIVATIONS),
            initialization=pick(generator, ("library", "he")),
            widths=tuple(min(width * 2**stage, 256) for stage in range(stages)),
            depths=tuple(pick(generator, DEPTHS[span]) for _ in range(stages)),
            norm=pick(generator, ("batch", "batch", "none", "group")),
            hidden=pick(generator, (0, 0, 64, 128)),
        )

    def network(self) -> nn.Module:
        """Build the network."""
        return _Network(self)


class _Network(nn.Module):
    def __init__(self, design: Vgg) -> None:
        super().__init__()
        self.features = nn.Sequential()
        width = 3
        for out, depth in zip(design.widths, design.depths, strict=True):
            for _ in range(depth):
                self.features.append(nn.Conv2d(width, out, 3, padding=1))
                if design.norm != "none":
                    self.features.append(norm(design.norm, out))
                self.features.append(activation(design.activation))
                width = out
            self.features.append(nn.MaxPool2d(2))
        side = design.resolution // 2 ** len(design.widths)
        if design.hidden:
            self.classifier = nn.Sequential(
                nn.Flatten(),
                nn.Linear(width * side * side, design.hidden),
                activation(design.activation),
                nn.Linear(design.hidden, design.classes),
            )
        else:
            self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, design.classes))

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images))
