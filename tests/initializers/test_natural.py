"""Filters drawn from a covariance in closed form: its structure, the filters' own covariance, and their norms."""

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.architectures import Inputs
from paramgen.initializers.natural import covariance
from paramgen.prediction import prepare


class Mixer(nn.Module):
    """Depthwise convolutions with pointwise ones between them."""

    def __init__(self, channels: int = 2000) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 4, 4)
        self.depthwise = nn.ModuleList(nn.Conv2d(channels, channels, 7, padding=3, groups=channels) for _ in range(3))
        self.head = nn.Linear(channels, 2)

    def forward(self, images: Tensor) -> Tensor:
        images = self.stem(images)
        for layer in self.depthwise:
            images = images + layer(images).relu()
        return self.head(images.mean((2, 3)))


@pytest.fixture(scope="module")
def filters() -> list[Tensor]:
    example: Inputs = ((torch.randn(2, 3, 16, 16),), {})
    state = prepare(Mixer(), init="natural", example_input=example).state_dict()
    return [state[f"depthwise.{index}.weight"].flatten(1).double() for index in range(3)]


def test_the_filters_have_the_covariance_of_their_depth(filters: list[Tensor]) -> None:
    for index, width in ((0, 0.15), (1, 0.4), (2, 0.9)):
        wanted = 2 * covariance((7, 7), width)  # relu follows: gain^2 = 2
        found = filters[index].T @ filters[index] / len(filters[index])
        assert float((found - wanted).norm() / wanted.norm()) < 0.15
    assert float(filters[0].square().sum(1).mean()) == pytest.approx(2.0, rel=0.1)


def test_filters_are_smooth_fade_towards_the_border_and_widen_with_depth(filters: list[Tensor]) -> None:
    def similarity(weights: Tensor) -> float:
        planes = weights.view(-1, 7, 7)
        return float((planes[:, :, 1:] * planes[:, :, :-1]).sum() / planes[:, :, 1:].square().sum())

    similar = [similarity(each) for each in filters]
    assert similar[0] > 0.3 and similar == sorted(similar)
    variances = filters[0].square().mean(0).view(7, 7)
    assert float(variances[3, 3]) > 10 * float(variances[0, 0])


@pytest.mark.parametrize("kernel", [(3,), (5, 5), (3, 5), (3, 3, 3), (2, 2)])
def test_any_kernel_has_a_covariance(kernel: tuple[int, ...]) -> None:
    matrix = covariance(kernel, 0.3)
    assert float(torch.linalg.eigvalsh(matrix)[0]) > -1e-12 and float(matrix.trace()) == pytest.approx(1.0)


def test_networks_without_such_filters_are_told_what_to_type() -> None:
    network, images = (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)),
        torch.randn(1, 3, 4, 4),
    )
    with pytest.raises(paramgen.ParamgenError, match="it has no depthwise convolution of more than one tap"):
        paramgen.predict(network, init="natural", example_input=images)
    rules = prepare(network, init="natural?convolutions=all", example_input=((images,), {})).rules
    assert (rules["0.weight"], rules["0.bias"], rules["3.weight"]) == ("natural", "zero", "kept")
