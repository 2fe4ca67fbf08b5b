"""The abstract design, and the pieces that the families share: activations, norms, stems, initializations."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from paramgen.architectures.materialize import plain_attention

T = TypeVar("T")
Activation = Literal["relu", "gelu", "silu"]
Norm = Literal["batch", "group", "none"]
Initialization = Literal["library", "he", "truncated"]
Span = Literal["small", "wide", "held_out"]
"""Which sizes to draw: a few small ones, all between those, or ones beyond anything in training."""
Takes = Literal["images", "text"]
Stem = Literal["plain", "strided", "pooled", "patch"]

ACTIVATIONS: Sequence[Activation] = ("relu", "gelu", "silu")
CLASSES = 10
RESOLUTIONS = (16, 32)


@dataclass(frozen=True, kw_only=True)
class Design(abc.ABC):
    """What one network looks like.

    `resolution` is the side of the images it takes, or the length of the texts; `classes` is how many answers it tells
    apart: of a language model, its vocabulary.
    """

    limit: ClassVar[int] = 2_500_000
    """Multiplications of one image's forward pass that training may spend: some 25 ms a step of 64 on one core."""
    takes: ClassVar[Takes] = "images"
    hides: ClassVar[bool] = False
    """Whether it learns to tell tokens that are hidden from it, instead of the next ones."""

    resolution: int = 16
    activation: Activation = "relu"
    initialization: Initialization = "library"
    classes: int = CLASSES

    @classmethod
    @abc.abstractmethod
    def sample(cls, generator: torch.Generator, *, span: Span) -> "Design":
        """Draw a design of the span."""

    @abc.abstractmethod
    def network(self) -> nn.Module:
        """Build the network with the default initialization of its modules."""

    def build(self) -> nn.Module:
        """Build and initialize the network with torch's global generator."""
        network = self.network()
        initialize(network, self.initialization)
        return network

    def example(self, count: int, device: str) -> Tensor:
        """Return `count` inputs of zeros."""
        return torch.zeros(count, 3, self.resolution, self.resolution, device=device)

    def cost(self) -> int:
        """Multiplications of one forward pass of one image or text."""
        with torch.device("meta"):
            network = self.network().eval()
        # On real zeros: following a small network on the meta device takes three times as long as running it.
        network = network.to_empty(device="cpu")
        for tensor in (*network.parameters(), *network.buffers()):  # some buffers are in no state dict
            tensor.detach().zero_()
        with FlopCounterMode(display=False) as counter, torch.no_grad(), plain_attention():
            network(self.example(1, "cpu"))
        return counter.get_total_flops() // 2


def pick(generator: torch.Generator, options: Sequence[T]) -> T:
    """Return one of the options."""
    return options[int(torch.randint(len(options), (1,), generator=generator))]


def between(generator: torch.Generator, low: int, high: int) -> int:
    """Return a whole number from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (1,), generator=generator))


def activation(name: Activation) -> nn.Module:
    """Return a new activation."""
    return {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}[name]()


def norm(kind: Norm, width: int) -> nn.Module:
    """Return a norm over the channels of an image."""
    if kind == "batch":
        return nn.BatchNorm2d(width)
    if kind == "group":
        return nn.GroupNorm(8 if width % 8 == 0 else 1, width)
    return nn.Identity()


def stem(kind: Stem, width: int, *, norm_kind: Norm, act: Activation) -> nn.Sequential:
    """Return the layers before the first stage: 3×3, 3×3 by 2, 7×7 by 2 and a pool, or patches of 4."""
    kernel, stride, padding = {"plain": (3, 1, 1), "strided": (3, 2, 1), "pooled": (7, 2, 3), "patch": (4, 4, 0)}[kind]
    layers = nn.Sequential(
        nn.Conv2d(3, width, kernel, stride, padding, bias=norm_kind == "none"), norm(norm_kind, width), activation(act)
    )
    if kind == "pooled":
        layers.append(nn.MaxPool2d(3, 2, 1))
    return layers


class SqueezeExcitation(nn.Module):
    """Squeeze-excitation (Hu et al., 2018, arXiv:1709.01507)."""

    def __init__(self, width: int, act: Activation) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, max(4, width // 4), 1)
        self.act = activation(act)
        self.fc2 = nn.Conv2d(max(4, width // 4), width, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Scale each channel by what all channels are in the mean."""
        return images * self.fc2(self.act(self.fc1(images.mean((2, 3), keepdim=True)))).sigmoid()


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of an image, as in ConvNeXt (Liu et al., 2022, arXiv:2201.03545)."""

    def forward(self, images: Tensor) -> Tensor:
        """Move the channels last and back."""
        return super().forward(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def initialize(network: nn.Module, initialization: Initialization) -> None:
    """Initialize again in the manner of common libraries; `library` keeps torch's default initialization."""
    if initialization == "library":
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and initialization == "he":
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, (nn.Conv2d, nn.Linear)) and initialization == "truncated":
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
