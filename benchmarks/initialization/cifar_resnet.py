"""ResNets for CIFAR-10 with 6n+2 layers (He et al., 2016, section 4.2), whose parts are named as in published models.

Where a block halves the image and doubles the channels, its shortcut takes every other pixel and adds channels of
zeros (option A). A donor of `python -m benchmarks.initialization.inherited` is `cifar_resnet.py:resnet56`.
"""

from typing import Final

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

WIDTHS: Final = (16, 32, 64)


class Block(nn.Module):
    """Two 3×3 convolutions with batch norms, and a shortcut without parameters."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.added = stride, width - before

    def forward(self, images: Float[Tensor, "batch in height width"]) -> Float[Tensor, "batch out less narrower"]:
        """Return the sum of both ways."""
        inside = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(images)))))
        around = images[:, :, :: self.stride, :: self.stride]
        half = self.added // 2
        return functional.relu(inside + functional.pad(around, (0, 0, 0, 0, half, self.added - half)))


class CifarResNet(nn.Module):
    """Three stages of `blocks` blocks each."""

    def __init__(self, blocks: int, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        before = WIDTHS[0]
        for number, width in enumerate(WIDTHS):
            stage = [
                Block(before if block == 0 else width, width, 2 if number and not block else 1)
                for block in range(blocks)
            ]
            self.add_module(f"layer{number + 1}", nn.Sequential(*stage))
            before = width
        self.linear = nn.Linear(before, num_classes)

    def forward(self, images: Float[Tensor, "batch 3 32 32"]) -> Float[Tensor, "batch classes"]:
        """Return the scores, from the mean over positions."""
        features = functional.relu(self.bn1(self.conv1(images)))
        for number in range(len(WIDTHS)):
            features = self.get_submodule(f"layer{number + 1}")(features)
        return self.linear(features.mean((2, 3)))


def resnet20(num_classes: int = 10) -> nn.Module:
    """Return the smallest published one: 0.27 million parameters."""
    return CifarResNet(3, num_classes)


def resnet56(num_classes: int = 10) -> nn.Module:
    """Return the deepest one that was published with it: 0.85 million parameters."""
    return CifarResNet(9, num_classes)
