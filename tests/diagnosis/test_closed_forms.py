"""Measures are held to what theory says of wide networks, and to the definitions of others."""

from collections.abc import Callable
from math import pi

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.diagnosis.gradient import effective_rank
from paramgen.diagnosis.ntk import alignment, spectrum_of, tangent_kernel
from paramgen.diagnosis.proxies import Proxies
from paramgen.diagnosis.signal import growth

Plain = Callable[..., nn.Module]


@pytest.mark.parametrize(("depth", "gamma"), [(1, 1 / (pi - 1)), (2, 0.975), (3, 1.531), (5, 2.787)])
def test_guessing_bias_of_relu_networks(plain: Plain, depth: int, gamma: float) -> None:
    """gamma = c / (1 - c), with c the correlation that two independent inputs have at the last layer."""
    inputs = torch.randn(256, 256, generator=torch.Generator().manual_seed(1))
    module = plain(depth, 256, outputs=64)
    found = paramgen.diagnose(module, init="he", data=inputs, what="guessing", seeds=16, examples=256)
    assert found.figure("he", "guessing", "gamma") == pytest.approx(gamma, rel=0.1)


def test_tanh_networks_have_none(plain: Plain) -> None:
    inputs = torch.randn(256, 256, generator=torch.Generator().manual_seed(1))
    module = plain(3, 256, gain=1.0, act=nn.Tanh, outputs=64)
    found = paramgen.diagnose(module, init="xavier", data=inputs, what="guessing", seeds=8, examples=256)
    gamma = found.figure("xavier", "guessing", "gamma")
    assert gamma is not None and gamma < 0.02


def test_chi_of_relu_networks_by_he_is_one(plain: Plain) -> None:
    inputs = torch.randn(32, 256, generator=torch.Generator().manual_seed(1))
    found = paramgen.diagnose(plain(12, 256), init="he", data=inputs, what="signal", seeds=12)
    assert found.figure("he", "signal", "chi") == pytest.approx(1.0, abs=0.02)
    assert not found.advice


def test_chi_of_tanh_networks_in_the_chaotic_phase(plain: Plain) -> None:
    """At a gain of 5/3, small differences grow by the derivative of the correlation map at its fixed point."""
    variance, q, points = (5 / 3) ** 2, 1.0, torch.linspace(-8, 8, 4001, dtype=torch.float64)
    density = torch.exp(-(points**2) / 2) / (2 * pi) ** 0.5
    for _ in range(200):
        q = variance * float(torch.trapezoid(density * torch.tanh(q**0.5 * points) ** 2, points))
    derivative = (1 - torch.tanh(q**0.5 * points) ** 2) ** 2
    chi = variance * float(torch.trapezoid(density * derivative, points))
    inputs = torch.randn(32, 256, generator=torch.Generator().manual_seed(1)) * q**0.5
    found = paramgen.diagnose(plain(12, 256, gain=5 / 3, act=nn.Tanh), data=inputs, what="signal")
    assert found.figure("library", "signal", "chi") == pytest.approx(chi, rel=0.05)
    assert any("chaotic" in sentence for sentence in found.advice)


class NtkParametrized(nn.Module):
    """Weights of variance 1, scaled in the forward pass, and sqrt(2) relu between them."""

    def __init__(self, inputs: int, width: int, depth: int) -> None:
        super().__init__()
        sizes = [inputs, *[width] * depth, 1]
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in zip(sizes, sizes[1:], strict=False))
        for weight in self.layers.parameters():
            nn.init.normal_(weight)

    def forward(self, inputs: Tensor) -> Tensor:
        for index, layer in enumerate(self.layers):
            inputs = inputs if index == 0 else 2**0.5 * inputs.relu()
            inputs = layer(inputs) / inputs.shape[1] ** 0.5
        return inputs


def analytic(inputs: Tensor, depth: int) -> Tensor:
    """The kernel of infinite width: theta <- theta * sigma' + sigma (Jacot et al., 2018, theorem 1)."""
    sigma = inputs @ inputs.T / inputs.shape[1]
    theta = sigma.clone()
    for _ in range(depth):
        size = sigma.diagonal().sqrt()
        cosine = (sigma / size[:, None] / size[None, :]).clamp(-1, 1)
        angle = torch.arccos(cosine)
        theta = theta * (pi - angle) / pi
        sigma = size[:, None] * size[None, :] * ((1 - cosine**2).clamp_min(0).sqrt() + cosine * (pi - angle)) / pi
        theta = theta + sigma
    return theta


def test_the_distance_to_the_analytic_kernel_halves_with_four_times_the_width(trial: Callable) -> None:  # type: ignore[type-arg]
    inputs = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
    exact = analytic(inputs.double(), 2)
    distances = []
    for width in (32, 128, 512):
        torch.manual_seed(0)
        found = [tangent_kernel(trial(NtkParametrized(8, width, 2), inputs), 6) for _ in range(12)]
        distances.append(sum(float((each - exact).norm() / exact.norm()) for each in found) / len(found))
    assert distances[0] / distances[1] == pytest.approx(2.0, rel=0.3)
    assert distances[1] / distances[2] == pytest.approx(2.0, rel=0.3)


class SmallConvolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, stride=2)
        self.head = nn.Linear(72, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.second(self.first(images).relu_()).relu_().flatten(1))


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(16, 3, 8, 8, generator=generator), torch.randint(5, (16,), generator=generator)


def test_proxies_are_those_of_their_definitions(trial: Callable, images: tuple[Tensor, Tensor]) -> None:  # type: ignore[type-arg]
    """As written in the code of Abdelfattah et al. (2021), with masks, hooks and signs."""
    inputs, labels = images
    module = SmallConvolutional()
    found = Proxies().observe(trial(module, inputs, labels)).figures
    weights: list[Tensor] = [module.first.weight, module.second.weight, module.head.weight]
    biases = [module.first.bias, module.second.bias, module.head.bias]

    loss = nn.functional.cross_entropy(module(inputs), labels)
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    assert found["grad_norm"] == pytest.approx(sum(float(each.detach().norm()) for each in gradients), rel=1e-6)

    masks = [torch.ones_like(weight, requires_grad=True) for weight in weights]
    x = nn.functional.conv2d(inputs, weights[0] * masks[0], biases[0], padding=1).relu()
    x = nn.functional.conv2d(x, weights[1] * masks[1], biases[1], stride=2).relu().flatten(1)
    masked = nn.functional.cross_entropy(nn.functional.linear(x, weights[2] * masks[2], biases[2]), labels)
    by_mask = torch.autograd.grad(masked, masks)
    assert found["snip"] == pytest.approx(sum(float(each.abs().sum()) for each in by_mask), rel=1e-6)

    z = sum((each.detach() * each).sum() for each in gradients)
    assert isinstance(z, Tensor)
    curved = torch.autograd.grad(z, weights)
    grasp = sum(float((-weight.detach() * each).sum()) for weight, each in zip(weights, curved, strict=True))
    assert found["grasp"] == pytest.approx(grasp, rel=1e-5, abs=1e-7)

    outputs = [module.first(inputs)]
    outputs.append(module.second(outputs[0].relu()))
    outputs.append(module.head(outputs[1].relu().flatten(1)))
    back = torch.autograd.grad(nn.functional.cross_entropy(outputs[2], labels), outputs)
    fisher = 0.0
    for output, gradient in zip(outputs, back, strict=True):
        product = (output * gradient).flatten(2).sum(2) if output.dim() > 2 else output * gradient
        fisher += float(product.detach().pow(2).mean(0).mul(0.5).sum())
    assert found["fisher"] == pytest.approx(fisher, rel=1e-6)

    linear = SmallConvolutional().double()
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.abs_()
    linear(torch.ones(1, 3, 8, 8, dtype=torch.float64)).sum().backward()
    flow = 0.0
    for weight in (linear.first.weight, linear.second.weight, linear.head.weight):
        assert weight.grad is not None
        flow += float((weight.detach() * weight.grad).abs().sum())
    assert found["synflow"] == pytest.approx(flow, rel=1e-6)


def test_ranks_and_condition_numbers() -> None:
    assert effective_rank(torch.ones(7)) == pytest.approx(7.0)
    assert effective_rank(torch.tensor([1.0, 0.0, 0.0])) == pytest.approx(1.0)
    found = spectrum_of(torch.diag(torch.tensor([8.0, 4.0, 2.0], dtype=torch.float64)))
    assert found["largest"] == 8 and found["condition"] == pytest.approx(4.0)
    alike = torch.tensor([0, 0, 1, 1])
    assert alignment((alike[:, None] == alike[None, :]).double(), alike) == pytest.approx(1.0)


def test_growth_is_the_slope_of_logarithms() -> None:
    assert growth([1.0, None, 4.0, 8.0]) == pytest.approx(0.6931, abs=1e-4)
    assert growth([1.0]) is None and growth([0.0, float("inf")]) is None
