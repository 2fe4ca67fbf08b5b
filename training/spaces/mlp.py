"""Plain stacks of linear layers, on the flat image or on a mean over patches, with and without norms and shortcuts."""

from dataclasses import dataclass
from typing import Final, Literal, final

import torch
from torch import Tensor, nn

from training.spaces import families
from training.spaces.design import ACTIVATIONS, Design, Span, activation, pick

MlpNorm = Literal["batch", "layer", "none"]

WIDTHS: Final[dict[Span, tuple[int, ...]]] = {
    "small": (32, 64, 96, 128, 192),
    "wide": tuple(range(32, 257, 16)),
    "held_out": (320, 384),
}


@final
@families.register("mlp")
@dataclass(frozen=True, kw_only=True)
class Mlp(Design):
    """Linear layers of one width; `patch` 0 reads the whole image as one vector, otherwise patches share the layers."""

    width: int
    depth: int
    patch: int
    norm: MlpNorm
    residual: bool

    @classmethod
    def sample(cls, generator: torch.Generator, *, span: Span) -> "Mlp":
        """Draw a design."""
        resolution = pick(generator, (16, 16, 32))
        return cls(
            resolution=resolution,
            activation=pick(generator, ACTIVATIONS),
            initialization=pick(generator, ("library", "library", "truncated")),
            width=pick(generator, WIDTHS[span]),
            depth=pick(generator, (6, 7, 8) if span == "held_out" else (1, 2, 3, 4, 5)),
            patch=pick(generator, (0, 0, resolution // 4)),
            norm=pick(generator, ("batch", "layer", "none")),
            residual=pick(generator, (False, False, True)),
        )

    def network(self) -> nn.Module:
        """Build the network."""
        return _Network(self)


class _Layer(nn.Module):
    def __init__(self, width: int, out: int, design: Mlp) -> None:
        super().__init__()
        self.residual = design.residual and width == out
        self.fc = nn.Linear(width, out)
        # Batch norm wants vectors, or channels in the second axis: patches are moved behind the channels.
        self.norm = _norm(design.norm, out)
        self.swapped = design.norm == "batch" and design.patch > 0
        self.act = activation(design.activation)

    def forward(self, features: Tensor) -> Tensor:
        branch = self.fc(features)
        branch = self.norm(branch.transpose(1, 2)).transpose(1, 2) if self.swapped else self.norm(branch)
        branch = self.act(branch)
        return features + branch if self.residual else branch


def _norm(kind: MlpNorm, width: int) -> nn.Module:
    if kind == "none":
        return nn.Identity()
    return nn.BatchNorm1d(width) if kind == "batch" else nn.LayerNorm(width)


class _Network(nn.Module):
    def __init__(self, design: Mlp) -> None:
        super().__init__()
        self.patch = design.patch
        side = design.patch or design.resolution
        self.layers = nn.Sequential(_Layer(3 * side * side, design.width, design))
        self.layers.extend(_Layer(design.width, design.width, design) for _ in range(design.depth - 1))
        self.head = nn.Linear(design.width, design.classes)

    def forward(self, images: Tensor) -> Tensor:
        if self.patch == 0:
            return self.head(self.layers(images.flatten(1)))
        patches = nn.functional.unfold(images, self.patch, stride=self.patch).transpose(1, 2)  # (batch, patches, 3·p·p)
        return self.head(self.layers(patches).mean(1))
