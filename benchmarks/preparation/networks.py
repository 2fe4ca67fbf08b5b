"""The networks of these experiments, which `--arch networks.py:NAME` builds."""

from torch import Tensor, nn


class Residual(nn.Module):
    """Two convolutions with norms, and what came in added; a stride halves the size."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(before, after, 3, stride, 1), nn.Conv2d(after, after, 3, 1, 1)
        self.norms = nn.ModuleList((nn.BatchNorm2d(after), nn.BatchNorm2d(after)))
        self.past = nn.Conv2d(before, after, 1, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the sum."""
        inner = self.norms[1](self.second(self.norms[0](self.first(inputs)).relu()))
        return (inner + self.past(inputs)).relu()


def resnet(channels: int = 3) -> nn.Module:
    """Return three residual blocks and a linear layer."""
    blocks = (Residual(16, 16, 2), Residual(16, 32, 2), Residual(32, 64, 2))
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)
    )


def digits_resnet() -> nn.Module:
    """Return the same for grey pictures."""
    return resnet(channels=1)


def vgg() -> nn.Module:
    """Return a small VGG without norms."""
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128), (128, 128)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


def connected() -> nn.Module:
    """Return three fully connected layers."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(3072, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


def digits() -> nn.Module:
    """Return three fully connected layers, 300 and 100 wide."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    )


def small() -> nn.Module:
    """Return three fully connected layers of 2,130 parameters, for digits."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 10))


def coloured() -> nn.Module:
    """Return three fully connected layers for small pictures in colour and two classes."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(300, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2)
    )
