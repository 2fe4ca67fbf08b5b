"""Maxout networks: the constants of the paper's table, and second moments through thirty layers."""

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.initializers.maxout import second_moment
from paramgen.prediction import prepare


class Units(nn.Module):
    """Layers whose outputs are maxima over units."""

    def __init__(self, depth: int = 30, width: int = 32, rank: int = 5) -> None:
        super().__init__()
        self.rank = rank
        self.layers = nn.ModuleList(nn.Linear(width, width * rank) for _ in range(depth))
        self.head = nn.Linear(width, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        for layer in self.layers:
            inputs = self.largest(layer(inputs))
        return self.head(inputs)

    def largest(self, values: Tensor) -> Tensor:
        return values.view(len(values), -1, self.rank).amax(-1)


class Filters(nn.Module):
    """A convolution with a maximum over units and a max-pool behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 24, 3), nn.Conv2d(8, 24, 3), nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        for layer in (self.first, self.second):
            images = layer(images)
            images = images.view(len(images), 8, 3, *images.shape[2:]).amax(2)
        return self.head(nn.functional.max_pool2d(images, 2).mean((2, 3)))


@pytest.mark.parametrize(
    ("units", "c"), [(2, 1.0), (3, 0.78391), (4, 0.64461), (5, 0.55555), (6, 0.49462), (20, 0.26573)]
)
def test_the_constants_of_the_papers_table(units: int, c: float) -> None:
    assert 1 / second_moment(units) == pytest.approx(c, abs=2e-5)


def moments(init: str) -> tuple[float, float]:
    """Return the mean squares behind the first and the last layer."""
    network, inputs = Units(), torch.randn(200, 32, generator=torch.Generator().manual_seed(0))
    network.load_state_dict(prepare(network, init=init, example_input=((inputs[:2],), {})).state_dict())
    found = []
    with torch.no_grad():
        for layer in network.layers:
            inputs = network.largest(layer(inputs))
            found.append(float(inputs.square().mean()))
    return found[0], found[-1]


def test_the_second_moment_is_kept_over_thirty_layers_where_hes_explodes() -> None:
    first, last = moments("maxout")
    assert 0.05 < last / first < 20
    first, last = moments("he")
    assert last / first > 1e5


def test_convolutions_count_their_taps_and_a_pools_window() -> None:
    prediction = prepare(Filters(), init="maxout", example_input=((torch.randn(2, 3, 16, 16),), {}))
    state = prediction.state_dict()
    assert float(state["first.weight"].std()) == pytest.approx((0.78391 / 27) ** 0.5, rel=0.08)
    assert float(state["second.weight"].std()) == pytest.approx((1 / second_moment(12) / 72) ** 0.5, rel=0.05)
    assert prediction.rules["head.weight"] == "he" and prediction.rules["first.bias"] == "zero"


def test_a_network_without_maxima_is_told_what_to_type() -> None:
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
    with pytest.raises(paramgen.ParamgenError, match="no weight of it is followed by a maximum over units"):
        paramgen.predict(network, init="maxout", example_input=torch.randn(2, 4))
    with pytest.raises(paramgen.ParamgenError, match="followed by a maximum over 4 units"):
        prepare(Units(1), init="maxout?rank=4", example_input=((torch.randn(2, 32),), {}))
