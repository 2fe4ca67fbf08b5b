"""Orthogonal matrices, and networks of them that keep lengths."""

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.graphs.analysis.roles import LinearMap, linear_maps_of
from paramgen.prediction import prepare


class Circular(nn.Module):
    """Convolutions without borders or non-linearities."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular", groups=groups) for groups in (1, 2, 1, 4)
        )

    def forward(self, images: Tensor) -> Tensor:
        for layer in self.layers:
            images = layer(images)
        return images


def rows_of(weight: Tensor, part: LinearMap) -> Tensor:
    if part.in_out:
        weight = weight.T
    return weight.reshape(part.groups, part.out, -1)


@pytest.mark.parametrize(
    ("arch", "overrides"),
    [
        ("timm:test_efficientnet", {}),
        ("timm:test_vit", {}),
        ("gpt2", {"n_layer": 1, "n_embd": 48, "n_head": 2}),
    ],
)
def test_rows_or_columns_are_orthonormal_times_the_gain(arch: str, overrides: dict[str, int]) -> None:
    prediction = prepare(arch, init="orthogonal", overrides=overrides)
    state, parts = prediction.state_dict(), linear_maps_of(prediction.graph, prediction.architecture.manifest)
    for name, part in parts.items():
        matrices = rows_of(state[name], part)
        small = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.transpose(1, 2)
        unit = part.gain**2 * torch.eye(small.shape[1]).expand(part.groups, -1, -1)
        assert torch.allclose(small @ small.transpose(1, 2), unit, atol=1e-4), name


def test_delta_convolutions_keep_every_length_at_any_depth() -> None:
    module, images = Circular(), torch.randn(2, 8, 6, 6)
    options = "orthogonal?gain=1.0&convolutions=delta"
    prediction = paramgen.predict(module, init=options, example_input=images)
    module.load_state_dict(prediction.state_dict())
    assert torch.allclose(module(images).square().sum((1, 2, 3)), images.square().sum((1, 2, 3)), rtol=1e-4)


def test_it_is_uniform_among_rotations() -> None:
    """Haar's measure has no preferred sign on the diagonal; LAPACK's own QR has."""
    diagonals = [
        prepare(nn.Linear(6, 6), init="orthogonal", seed=seed).state_dict()["weight"].diagonal() for seed in range(60)
    ]
    assert abs(float(torch.stack(diagonals).sign().mean())) < 0.2


def test_a_small_difference_between_inputs_does_not_grow_in_a_deep_tanh_network() -> None:
    """With torch's gain of 5/3 for tanh it grows more than tenfold: such a network does not train (chaos)."""
    layers = [layer for _ in range(50) for layer in (nn.Linear(64, 64, bias=False), nn.Tanh())]
    network, inputs = nn.Sequential(*layers), torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
    prediction = paramgen.predict(network, init="orthogonal", example_input=inputs)
    network.load_state_dict(prediction.state_dict())
    change = 1e-3 * torch.randn(16, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        grown = (network(inputs + change) - network(inputs)).norm() / change.norm()
    assert 0.01 < float(grown) < 1
