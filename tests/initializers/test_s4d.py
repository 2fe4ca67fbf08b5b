"""State spaces: the poles of each kind, transfer functions, and the slots of the modules that hold them."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.architectures import Inputs
from paramgen.initializers.s4d import diagonal, legs
from paramgen.prediction import prepare


class Diagonal(nn.Module):
    """The minimal S4D layer: real parts as logarithms, complex outputs as pairs."""

    def __init__(self, channels: int = 16, states: int = 8) -> None:
        super().__init__()
        self.C = nn.Parameter(torch.view_as_real(torch.randn(channels, states, dtype=torch.cfloat)))
        self.log_dt = nn.Parameter(torch.rand(channels))
        self.log_A_real = nn.Parameter(torch.log(0.5 * torch.ones(channels, states)))
        self.A_imag = nn.Parameter(torch.ones(channels, states))
        self.D = nn.Parameter(torch.zeros(channels))

    def forward(self, inputs: Tensor) -> Tensor:
        poles = -self.log_A_real.exp() + 1j * self.A_imag
        steps = poles * self.log_dt.exp().unsqueeze(-1)
        outputs = torch.view_as_complex(self.C) * (steps.exp() - 1) / poles
        kernel = 2 * (outputs.unsqueeze(-1) * (steps.unsqueeze(-1) * torch.arange(32)).exp()).sum(1).real
        spectrum = torch.fft.rfft(kernel, n=64) * torch.fft.rfft(inputs, n=64)
        return torch.fft.irfft(spectrum, n=64)[..., :32] + inputs * self.D.unsqueeze(-1)


class Whole(nn.Module):
    """Complex poles, inputs and outputs, as such."""

    def __init__(self) -> None:
        super().__init__()
        self.A, self.B, self.C = (nn.Parameter(torch.randn(6, dtype=torch.cfloat)) for _ in range(3))

    def forward(self, values: Tensor) -> Tensor:
        return (values.unsqueeze(-1) * (self.A * self.B * self.C)).real.sum(-1)


class Mamba(nn.Module):
    """The state matrix of Mamba, which is real."""

    def __init__(self) -> None:
        super().__init__()
        self.A_log = nn.Parameter(torch.randn(5, 4))

    def forward(self, values: Tensor) -> Tensor:
        return values * self.A_log.exp().sum(-1)


EXAMPLE: Inputs = ((torch.randn(2, 16, 32),), {})


def state(init: str, module: Diagonal | None = None) -> dict[str, Tensor]:
    module = module or Diagonal()
    example: Inputs = ((torch.randn(2, len(module.D), 32),), {})
    return prepare(module, init=init, example_input=example).state_dict()


def test_the_poles_of_the_papers_formulas() -> None:
    index = np.arange(8)
    assert np.allclose(diagonal("lin", 8, 1e-4).poles, -0.5 + 1j * np.pi * index)
    assert np.allclose(diagonal("inv", 8, 1e-4).poles, -0.5 + 1j * 16 / np.pi * (16 / (2 * index + 1) - 1))
    assert np.allclose(diagonal("real", 8, 1e-4).poles, -(index + 1))
    matrix, inputs = legs(16)
    normal = matrix + 0.5 * inputs[:, None] * inputs
    values = np.linalg.eigvals(normal)
    assert np.allclose(np.sort(diagonal("legs", 8, 1e-4).poles.imag), np.sort(values[values.imag > 0].imag))
    assert np.allclose(values.real, -0.5)


def error(kind: str, states: int) -> float:
    """Return the largest difference of the transfer function from HiPPO-LegS's, as a share of its largest value."""
    matrix, inputs = legs(2 * states)
    found = diagonal(kind, states, 1e-4)
    outputs = np.random.default_rng(0).standard_normal(2 * states)
    assert found.vectors is not None
    diagonal_outputs = outputs @ found.vectors
    true, other = [], []
    for frequency in 1j * np.concatenate((np.linspace(0, 100, 400), np.geomspace(100, 1e4, 100))):
        true.append(outputs @ np.linalg.solve(frequency * np.eye(2 * states) - matrix, inputs))
        # One of each conjugate pair is kept: at a real frequency the other is the mirrored term.
        terms = diagonal_outputs * found.inputs
        other.append(
            (terms / (frequency - found.poles)).sum() + (terms.conj() / (frequency - found.poles.conj())).sum()
        )
    return float(np.abs(np.array(true) - np.array(other)).max() / np.abs(true).max())


@pytest.mark.parametrize("states", [8, 16, 32])
def test_ptd_has_the_transfer_function_of_hippo_and_legs_has_not(states: int) -> None:
    assert error("ptd", states) < 0.1
    assert error("legs", states) > 1
    found = diagonal("ptd", states, 1e-4)
    assert found.poles.real.max() < 0 and found.poles.imag.min() > 0 and len(found.poles) == states


@pytest.mark.parametrize("kind", ["lin", "inv", "legs", "real", "ptd"])
def test_every_kind_fills_parts_pairs_and_complex_slots(kind: str) -> None:
    prediction = prepare(Diagonal(), init=f"s4d:{kind}", example_input=EXAMPLE)
    filled = prediction.state_dict()
    assert set(prediction.rules.values()) == {"s4d"}
    poles = torch.complex(-filled["log_A_real"].exp(), filled["A_imag"])
    wanted = torch.from_numpy(diagonal(kind, 8, 1e-4).poles).to(torch.complex64)
    assert torch.allclose(poles[3], wanted, rtol=1e-5, atol=1e-5)
    whole = prepare(Whole(), init=f"s4d:{kind}", example_input=((torch.randn(3),), {})).state_dict()
    assert torch.allclose(whole["A"], torch.from_numpy(diagonal(kind, 6, 1e-4).poles).to(torch.complex64))
    assert torch.allclose(whole["B"], torch.from_numpy(diagonal(kind, 6, 1e-4).inputs).to(torch.complex64))


def test_steps_are_uniform_in_logarithms_and_outputs_complex_normal() -> None:
    filled = state("s4d?dt_min=0.01&dt_max=0.02", Diagonal(2000, 4))
    steps = filled["log_dt"].exp()
    assert 0.01 <= float(steps.min()) < 0.0101 and 0.0198 < float(steps.max()) <= 0.02
    assert float(filled["C"].square().sum(-1).mean()) == pytest.approx(1.0, rel=0.05)
    assert float(filled["D"].std()) == pytest.approx(1.0, rel=0.05)


def test_mambas_state_is_real() -> None:
    example: Inputs = ((torch.randn(3, 5),), {})
    filled = prepare(Mamba(), init="s4d:real", example_input=example).state_dict()["A_log"]
    assert torch.allclose(filled.exp(), torch.arange(1.0, 5.0).expand(5, 4))
    with pytest.raises(paramgen.ParamgenError, match="its state is real, and the poles of 'lin' are not"):
        prepare(Mamba(), init="s4d", example_input=example)
    with pytest.raises(paramgen.ParamgenError, match="it has no diagonal state space"):
        paramgen.predict(nn.Linear(4, 4), init="s4d")
