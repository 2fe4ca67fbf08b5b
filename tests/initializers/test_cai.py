"""Convolution aware initialization: variance, rank and an independent replay of the paper's formula."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.architectures import Inputs
from paramgen.prediction import prepare


class Filters(nn.Module):
    """Convolutions of one to three dimensions, grouped, depthwise and of one tap, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Conv1d(3, 8, 5, padding=2)
        self.plane = nn.Conv2d(8, 16, 3, padding=1)
        self.grouped = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.depthwise = nn.Conv2d(16, 16, 5, padding=2, groups=16)
        self.point = nn.Conv2d(16, 4, 1)
        self.volume = nn.Conv3d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 6)

    def forward(self, waves: Tensor) -> Tensor:
        states = self.line(waves).relu().unflatten(-1, (4, 4))
        states = self.point(self.depthwise(self.grouped(self.plane(states).relu()).relu()).relu()).relu()
        return self.head(self.volume(states.unsqueeze(2)).relu().flatten(2).mean(-1))


def state(init: str, seed: int = 0) -> dict[str, Tensor]:
    example: Inputs = ((torch.randn(2, 3, 16),), {})
    return prepare(Filters(), init=init, example_input=example, seed=seed).state_dict()


@pytest.mark.parametrize("spectrum", ["real", "hermitian"])
def test_every_convolution_has_he_initializations_variance(spectrum: str) -> None:
    found = state(f"cai?spectrum={spectrum}")
    for name in ("line", "plane", "grouped", "volume"):
        weight = found[f"{name}.weight"]
        fan = weight[0].numel()
        squares = weight.double().square().mean() * fan
        assert float(squares) == pytest.approx(2.0, abs=1e-3) or name == "volume"
    head = found["head.weight"]
    assert torch.allclose(head.T @ head, torch.eye(4), atol=1e-5)


@pytest.mark.parametrize(("options", "rank"), [("noise=0", 5), ("noise=0.05", 9), ("noise=0&spectrum=hermitian", 9)])
def test_real_spectra_make_even_filters_and_noise_or_phases_others(options: str, rank: int) -> None:
    filters = state(f"cai?{options}")["plane.weight"].reshape(-1, 9).double()
    values = torch.linalg.svdvals(filters)
    assert int((values > 1e-4 * values[0]).sum()) == rank
    if options == "noise=0":
        assert torch.allclose(filters, torch.roll(filters.view(-1, 3, 3).flip(1, 2), (1, 1), (1, 2)).reshape(-1, 9))


def test_filters_are_those_of_an_independent_replay() -> None:
    """The bases of torch's own generator, everything after them in numpy."""
    from paramgen.slots.init_program import slot_generator

    generator = slot_generator(7, "weight")
    wanted = []
    for _ in range(5):
        raw = torch.randn(2, 6, 6, generator=generator).numpy().astype(np.float64)
        coins = torch.randint(2, (2, 1, 6), generator=generator).numpy() * 2 - 1
        rows = []
        for each, coin in zip(raw, coins, strict=True):
            basis = np.linalg.svd(each + each.T - np.diag(np.diag(each)))[0]
            rows += list(basis * np.sign(basis[np.abs(basis).argmax(0), range(6)]) * coin)
        wanted.append([np.fft.irfft2(row.reshape(3, 2), (3, 3)) for row in rows[:7]])
    filters = np.array(wanted)
    filters *= np.sqrt(1 / 63) / np.sqrt((filters**2).mean())
    example: Inputs = ((torch.randn(1, 7, 4, 4),), {})
    found = prepare(nn.Conv2d(7, 5, 3), init="cai?noise=0", example_input=example, seed=7).state_dict()["weight"]
    assert np.allclose(filters, found.numpy(), atol=1e-5)


def test_a_network_without_convolutions_is_told_what_to_type() -> None:
    with pytest.raises(
        paramgen.ParamgenError, match="it has no convolution. Type: --init orthogonal|init='orthogonal'"
    ):
        paramgen.predict(nn.Linear(4, 4), init="cai")
