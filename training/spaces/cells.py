"""Random cells (DeepNets-1M, Knyazev et al., 2021, arXiv:2110.13100; the DARTS space, Liu et al., 2018).

A cell is a small random acyclic graph: each node adds up two operations on earlier nodes, of which the first two are
the outputs of the two cells before. Normal cells keep the side, two reduction cells halve it and double the width.
"""

from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

import torch
from torch import Tensor, nn

from training.spaces import families
from training.spaces.design import (
    ACTIVATIONS,
    Design,
    Norm,
    Span,
    SqueezeExcitation,
    Stem,
    activation,
    norm,
    pick,
    stem,
)

Op = Literal["sep_conv", "dil_conv", "conv", "max_pool", "average_pool", "skip", "squeeze", "attention"]
CellNode = tuple[tuple[Op, int], tuple[Op, int]]
"""Two operations, each with the index of its input: 0 and 1 the cells before, from 2 on this cell's nodes."""

OPS: Final[tuple[Op, ...]] = (
    *("sep_conv", "sep_conv", "dil_conv", "conv", "conv", "max_pool", "average_pool"),
    *("skip", "skip", "squeeze", "attention"),
)
WIDTHS: Final[dict[Span, tuple[int, ...]]] = {
    "small": (8, 12, 16, 24),
    "wide": tuple(range(8, 29, 4)),
    "held_out": (32, 40),
}
DEPTHS: Final[dict[Span, tuple[int, ...]]] = {"small": (3, 4, 5), "wide": (3, 4, 5, 6), "held_out": (8, 9)}


@final
@families.register("cells")
@dataclass(frozen=True, kw_only=True)
class Cells(Design):
    """A stem, `depth` cells of which two reduce, and the mean over positions."""

    # Many small operations, and norms without a convolution, make each multiplication dearer than elsewhere.
    limit: ClassVar[int] = 1_500_000

    width: int
    depth: int
    normal: tuple[CellNode, ...]
    reduction: tuple[CellNode, ...]
    norm: Norm
    stem: Stem

    @classmethod
    def sample(cls, generator: torch.Generator, *, span: Span) -> "Cells":
        """Draw a design."""
        resolution = pick(generator, (16, 16, 32))
        nodes = pick(generator, (2, 3, 4))
        return cls(
            resolution=resolution,
            activation=pick(generator, (*ACTIVATIONS, "relu")),
            initialization=pick(generator, ("library", "he")),
            width=pick(generator, WIDTHS[span]),
            depth=pick(generator, DEPTHS[span]),
            normal=_cell(generator, nodes),
            reduction=_cell(generator, nodes),
            norm=pick(generator, ("batch", "batch", "batch", "none")),
            stem=pick(generator, ("plain", "strided") if resolution == 16 else ("strided", "pooled")),
        )

    def network(self) -> nn.Module:
        """Build the network."""
        return _Network(self)


def _cell(generator: torch.Generator, nodes: int) -> tuple[CellNode, ...]:
    """Draw the nodes of a cell; the inputs of one node differ."""
    drawn: list[CellNode] = []
    for index in range(2, 2 + nodes):
        first, second = torch.randperm(index, generator=generator)[:2].tolist()
        drawn.append(((pick(generator, OPS), first), (pick(generator, OPS), second)))
    return tuple(drawn)


class _Convolution(nn.Sequential):
    """Activation, convolution (depthwise and 1×1 where separable), norm: the order of the DARTS space."""

    def __init__(self, width: int, out: int, design: Cells, *, kernel: int, stride: int, kind: str = "conv") -> None:
        super().__init__(activation(design.activation))
        bias, dilation = design.norm == "none", 2 if kind == "dil_conv" else 1
        inner = width if kind != "conv" else out
        groups = width if kind != "conv" else 1
        padding = dilation * (kernel // 2)
        self.append(nn.Conv2d(width, inner, kernel, stride, padding, dilation, groups, bias and kind == "conv"))
        if kind != "conv":
            self.append(nn.Conv2d(inner, out, 1, bias=bias))
        if design.norm != "none":
            self.append(norm(design.norm, out))


class _Attention(nn.Module):
    """Pre-norm self-attention over the positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // 4
        self.ln = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.to_out = nn.Linear(width, width)

    def forward(self, images: Tensor) -> Tensor:
        batch, width, *sides = images.shape
        tokens = images.flatten(2).transpose(1, 2)
        parts = self.to_qkv(self.ln(tokens)).view(batch, -1, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)  # (batch, heads, tokens, width of a head) each
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        mixed = self.to_out(mixed.transpose(1, 2).reshape(batch, -1, width))
        return mixed.transpose(1, 2).reshape(batch, width, *sides)


def _operation(op: Op, width: int, stride: int, design: Cells) -> nn.Module:
    if op in ("conv", "sep_conv", "dil_conv"):
        return _Convolution(width, width, design, kernel=3, stride=stride, kind=op)
    if op == "max_pool":
        return nn.MaxPool2d(3, stride, 1)
    if op == "average_pool":
        return nn.AvgPool2d(3, stride, 1)
    if op == "skip":
        return nn.Identity() if stride == 1 else _Convolution(width, width, design, kernel=1, stride=stride)
    mixing = SqueezeExcitation(width, design.activation) if op == "squeeze" else _Attention(width)
    return mixing if stride == 1 else nn.Sequential(nn.AvgPool2d(2), mixing)


class _Cell(nn.Module):
    """One cell; `sources` are the (width, side) of the two cells before, `halved` says whether this one reduces."""

    def __init__(self, sources: tuple[tuple[int, int], tuple[int, int]], width: int, design: Cells, *, halved: bool):
        super().__init__()
        self.nodes = design.reduction if halved else design.normal
        (early, large), (late, side) = sources
        self.preprocess = nn.ModuleList(
            (
                _Convolution(early, width, design, kernel=1, stride=large // side),
                _Convolution(late, width, design, kernel=1, stride=1),
            )
        )
        self.ops = nn.ModuleList(
            _operation(op, width, 2 if halved and source < 2 else 1, design)
            for node in self.nodes
            for op, source in node
        )

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        states = [self.preprocess[0](before), self.preprocess[1](last)]
        for index, ((_, first), (_, second)) in enumerate(self.nodes):
            states.append(self.ops[2 * index](states[first]) + self.ops[2 * index + 1](states[second]))
        return torch.cat(states[2:], dim=1)


class _Network(nn.Module):
    def __init__(self, design: Cells) -> None:
        super().__init__()
        self.stem = stem(design.stem, design.width, norm_kind=design.norm, act=design.activation)
        side = design.resolution // {"plain": 1, "strided": 2, "pooled": 4, "patch": 4}[design.stem]
        width, early, late = design.width, (design.width, side), (design.width, side)
        self.cells = nn.ModuleList()
        for index in range(design.depth):
            halved = index in (design.depth // 3, 2 * design.depth // 3)
            if halved:
                width, side = 2 * width, side // 2
            self.cells.append(_Cell((early, late), width, design, halved=halved))
            early, late = late, (width * len(design.normal), side)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(late[0], design.classes)

    def forward(self, images: Tensor) -> Tensor:
        before = last = self.stem(images)
        for cell in self.cells:
            before, last = last, cell(before, last)
        return self.classifier(self.pool(last).flatten(1))
