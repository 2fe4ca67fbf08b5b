"""Identity maps, kept at any depth."""

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.architectures.materialize import materialize
from paramgen.initializers.idinit import identity, near_zero
from paramgen.prediction import prepare


class Stack(nn.Module):
    """Fifty convolutions, one after the other, wider in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1, groups=1 + index % 2) for index in range(50))
        self.wide, self.narrow = nn.Conv2d(8, 24, 1), nn.Conv2d(24, 8, 1)

    def forward(self, images: Tensor) -> Tensor:
        for layer in self.layers:
            images = layer(images)
        return self.narrow(self.wide(images))


def test_fifty_convolutions_are_the_identity() -> None:
    module, images = Stack(), torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(0))
    prediction = paramgen.predict(module, init="idinit", example_input=images)
    module.load_state_dict(prediction.state_dict())
    assert set(prediction.rules.values()) == {"idinit", "zero"}
    assert torch.allclose(module(images), images, atol=2e-3)


def test_residual_blocks_of_a_transformer_are_the_identity() -> None:
    prediction = prepare("timm:test_vit", init="idinit")
    assert (
        prediction.rules["blocks.0.attn.proj.weight"]
        == prediction.rules["blocks.0.mlp.fc2.weight"]
        == "idinit near zero"
    )
    module = materialize(prediction.architecture, prediction.state_dict())
    states = torch.randn(2, 9, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        moved = module.blocks(states) - states  # type: ignore[operator]
    assert 0 < float(moved.abs().max()) < 1e-3


def test_residual_network_passes_on_what_its_shortcuts_pass() -> None:
    prediction = prepare("timm:test_resnet", init="idinit")
    near = {name for name, rule in prediction.rules.items() if rule == "idinit near zero"}
    assert near and all(name.endswith(("conv2.weight", "conv3.weight")) for name in near)
    assert not any("downsample" in name for name in near)
    module = materialize(prediction.architecture, prediction.state_dict())
    with torch.no_grad():
        logits = module(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert bool(logits.isfinite().all()) and float(logits.std()) > 0.01


def test_further_outputs_copy_the_channels_at_further_taps() -> None:
    module = nn.Conv2d(2, 6, 3)
    images = torch.zeros(1, 2, 5, 5)
    weight = paramgen.predict(module, init="idinit?loosen=0.0", example_input=images).state_dict()["weight"]
    assert weight.count_nonzero() == 6
    taps = weight.flatten(2)
    assert [int(taps[row].nonzero()[0, 1]) for row in range(6)] == [4, 4, 0, 0, 1, 1]
    assert [int(taps[row].nonzero()[0, 0]) for row in range(6)] == [0, 1, 0, 1, 0, 1]
    options = "idinit?loosen=0.0&convolutions=channel"
    central = paramgen.predict(module, init=options, example_input=images).state_dict()["weight"]
    assert torch.equal(central[:, :, 1, 1], identity(6, 2, 1.0)) and central.count_nonzero() == 6


def test_padded_identity_goes_up_and_down_unchanged() -> None:
    states = torch.randn(5, 4)
    assert torch.equal(states @ identity(10, 4, 1.0).T @ identity(4, 10, 1.0).T, states)


@pytest.mark.parametrize(("out", "width"), [(4, 10), (4, 4), (9, 4), (3, 2), (4, 1)])
def test_near_zero_has_no_dead_row_and_opposite_signs(out: int, width: int) -> None:
    matrix = near_zero(out, width, 1e-6)
    assert bool((matrix.abs().sum(1) > 0).all())
    if width > 1:
        assert float(matrix[: min(out, max(width - out, 0)) or out].sum().abs()) < 1e-5
    assert float(matrix.abs().max()) == pytest.approx(1e-6)
