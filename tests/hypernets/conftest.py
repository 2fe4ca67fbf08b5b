from dataclasses import replace

import pytest
import torch

from paramgen.graphs.views.view import SlotRequest, View
from paramgen.hypernets.config import HypernetConfig, first_light
from paramgen.hypernets.decoders.conv import ConvConfig
from paramgen.hypernets.decoders.low_rank import LowRankConfig
from paramgen.hypernets.encoders.graphormer import GraphormerConfig
from paramgen.hypernets.normalization import FanIn


@pytest.fixture
def encoder() -> GraphormerConfig:
    return GraphormerConfig(
        hidden=16, layers=2, heads=4, primitives=20, channels=(10,), spatial=11, cutoff=50, final_norm=True
    )


@pytest.fixture
def residual_config(encoder: GraphormerConfig) -> HypernetConfig:
    """A small hypernet of our own kind."""
    decoder = LowRankConfig(rank=4, width=64, max_out=32, max_in=32, scaled=True)
    return replace(first_light(), encoder=encoder, decoder=decoder)


@pytest.fixture
def published(encoder: GraphormerConfig) -> HypernetConfig:
    """A small hypernet of the published kind."""
    return HypernetConfig(
        encoder=encoder,
        decoder=ConvConfig(max_out=8, max_in=8, kernel=5, classes=10),
        normalization=FanIn(spare_tables=True),
        vocabulary="published",
        roles=("weight", "scale", "bias", "embedding", "position", "class_weight", "class_bias"),
        residual=False,
    )


@pytest.fixture
def view() -> View:
    """A chain of six nodes with one shortcut: convolution, norm (scale and bias from one node), linear, bias."""
    distances = torch.zeros(6, 6, dtype=torch.uint8)
    for source in range(6):
        for destination in range(source + 1, 6):
            distances[source, destination] = destination - source
    distances[1, 4] = 1
    return View(
        primitives=torch.tensor([0, 2, 10, 6, 14, 16]),
        shapes=(None, (24, 3, 3, 3), (24,), (40, 24), (40,), (5, 9, 3)),
        distances=distances,
        requests=(
            SlotRequest("conv.weight", 1, "weight", (24, 3, 3, 3)),
            SlotRequest("norm.weight", 2, "scale", (24,)),
            SlotRequest("norm.bias", 2, "bias", (24,)),
            SlotRequest("linear.weight", 3, "weight", (24, 40), in_out=True),
            SlotRequest("linear.bias", 4, "bias", (40,)),
            SlotRequest("conv1d.weight", 5, "weight", (5, 9, 3)),
        ),
    )


@pytest.fixture
def default(view: View) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {request.slot: torch.randn(request.shape, generator=generator) for request in view.requests}
