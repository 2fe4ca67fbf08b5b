"""Edge of chaos: the curve's known points, and signals in deep networks drawn there."""

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.initializers.eoc import ACTIVATIONS, critical_point
from paramgen.prediction import Prediction, prepare


def deep(activation: type[nn.Module], depth: int, width: int = 256) -> nn.Sequential:
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), activation())]
    return nn.Sequential(*layers, nn.Linear(width, 4))


def filled(network: nn.Sequential, init: str) -> Prediction:
    prediction = prepare(network, init=init, example_input=((torch.randn(2, 256),), {}))
    network.load_state_dict(prediction.state_dict())
    return prediction


@pytest.mark.parametrize(
    ("function", "bias", "variance", "weight"),
    [
        ("tanh", 0.05, 0.1537, 1.1225),
        ("tanh", 0.2, 0.5121, 1.3041),
        ("tanh", 0.3, 0.7635, 1.3956),
        ("gelu", 0.1, 0.1835, 1.7271),
        ("silu", 0.2, 0.6895, 1.6795),
        ("elu", 0.2, 1.1665, 1.2339),
        ("relu", 0.2, 0.0, 2**0.5),
        ("tanh", 0.0, 0.0, 1.0),
    ],
)
def test_known_points_of_the_curve(function: str, bias: float, variance: float, weight: float) -> None:
    point = critical_point(function, bias)
    assert point is not None
    assert point.variance == pytest.approx(variance, abs=2e-4)
    assert point.weight == pytest.approx(weight, abs=2e-4)


@pytest.mark.parametrize("function", sorted(ACTIVATIONS))
def test_on_the_curve_a_gradient_keeps_its_size_and_the_variance_is_fixed(function: str) -> None:
    """By sampling, not by the quadrature that found the point."""
    point = critical_point(function, 0.05)
    if point is None:
        return
    normal = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs = (normal * (point.variance**0.5 or 1.0)).requires_grad_(True)
    outputs = ACTIVATIONS[function](inputs)
    (slopes,) = torch.autograd.grad(outputs.sum(), inputs)
    assert point.weight**2 * float(slopes.square().mean()) == pytest.approx(1.0, abs=0.02)
    if point.variance > 0:
        again = point.bias**2 + point.weight**2 * float(outputs.detach().square().mean())
        assert again == pytest.approx(point.variance, rel=0.02)


@pytest.mark.parametrize("basis", ["normal", "orthogonal"])
def test_a_deep_network_reaches_the_variance_and_keeps_it(basis: str) -> None:
    network = deep(nn.Tanh, 20)
    filled(network, f"eoc?bias=0.2&basis={basis}&moment=1.0")
    states = torch.randn(64, 256, generator=torch.Generator().manual_seed(1))
    variances = []
    with torch.no_grad():
        for layer in list(network)[:-1]:
            states = layer(states)
            if isinstance(layer, nn.Linear):
                variances.append(float(states.square().mean()))
    assert variances[0] == pytest.approx(0.5121, rel=0.08)  # at once: the first weights know the data's moment
    assert variances[-1] == pytest.approx(0.5121, rel=0.25)
    assert float(network.get_parameter("2.bias").detach().std()) == pytest.approx(0.2, rel=0.2)


def test_relu_has_he_initializations_weights_and_no_biases() -> None:
    network = deep(nn.ReLU, 2)
    prediction = filled(network, "eoc")
    assert float(network.get_parameter("0.weight").detach().std()) == pytest.approx((2 / 256) ** 0.5, rel=0.02)
    assert not network.get_parameter("0.bias").any()
    assert prediction.rules["0.weight"] == "eoc" and prediction.rules["4.weight"] == "he"


class Normed(nn.Module):
    """A weight before a norm, and one before an activation alone."""

    def __init__(self) -> None:
        super().__init__()
        self.normed, self.norm, self.free, self.head = (
            nn.Linear(8, 8),
            nn.LayerNorm(8),
            nn.Linear(8, 8),
            nn.Linear(8, 2),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.free(self.norm(self.normed(inputs)).tanh()).tanh())


def test_a_weight_before_a_norm_is_hes() -> None:
    rules = prepare(Normed(), init="eoc", example_input=((torch.randn(2, 8),), {})).rules
    assert (rules["normed.weight"], rules["normed.bias"]) == ("he", "zero")
    assert (rules["free.weight"], rules["free.bias"], rules["head.weight"]) == ("eoc", "eoc", "he")


def test_a_network_without_such_an_activation_is_told_what_to_type() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 4))
    with pytest.raises(paramgen.ParamgenError, match="no weight of it is followed by an activation with an edge"):
        paramgen.predict(network, init="eoc", example_input=torch.randn(2, 4))


def test_activations_have_the_names_of_torchs_functions() -> None:
    """As graphs name them: under another name an activation would silently have no edge."""
    for name, activation in ACTIVATIONS.items():
        function = getattr(torch, name, None) or getattr(nn.functional, name)
        inputs = torch.linspace(-3, 3, 13)
        arguments = (inputs, torch.tensor([0.25])) if name == "prelu" else (inputs,)
        assert torch.equal(activation(inputs), function(*arguments))


@pytest.mark.parametrize("moment", [0.25, 9.0])
def test_the_first_weights_are_scaled_to_the_data(moment: float) -> None:
    network = deep(nn.Tanh, 2)
    filled(network, f"eoc?bias=0.2&moment={moment}")
    states = moment**0.5 * torch.randn(256, 256, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert float(network[0](states).square().mean()) == pytest.approx(0.5121, rel=0.08)


def test_the_point_of_an_odd_activation_without_biases_has_its_slope_at_zero() -> None:
    point = critical_point("erf", 0.0)
    assert point is not None and point.weight == pytest.approx((4 / torch.pi) ** -0.5, rel=1e-4)


@pytest.mark.parametrize("option", ["bias", "moment"])
def test_options_out_of_range_are_named(option: str) -> None:
    with pytest.raises(paramgen.ParamgenError, match=rf"{option} is -1.*Pass: init='eoc\?{option}="):
        prepare(deep(nn.Tanh, 1), init=f"eoc?{option}=-1.0", example_input=((torch.randn(2, 256),), {}))
