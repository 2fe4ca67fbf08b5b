"""What GHN-1, GHN-2 and LoGAH with a vector network do otherwise, against the plain way of writing it."""

from dataclasses import replace

import pytest
import torch

from paramgen.errors import HypernetError
from paramgen.graphs.views.view import View
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.decoders.conv import ConvConfig
from paramgen.hypernets.decoders.low_rank_vectors import LowRankVectorsConfig
from paramgen.hypernets.grouping import Key
from paramgen.hypernets.hypernet import Hypernet
from paramgen.hypernets.normalization import AsDecoded


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_ghn2_cuts_kernels_from_the_corner(size: int) -> None:
    decoder = ConvConfig(max_out=4, max_in=4, kernel=5, classes=3, corner=True).build(8)
    states = torch.randn(2, 8)
    image = decoder.image(states).relu().view(2, 32, 5, 5)[:, :, :size, :size]
    pixels = decoder.pixel(image.permute(0, 2, 3, 1))
    expected = pixels.permute(0, 3, 1, 2).unflatten(1, (4, 4))[:, :3, :2]
    assert torch.allclose(decoder.weights(states, Key(False, False, 3, 2, size, size)), expected, atol=1e-6)


def test_ghn1_leaves_everything_as_it_was_decoded(published: HypernetConfig, view: View) -> None:
    torch.manual_seed(0)
    bounded = Hypernet(published).eval()
    raw = Hypernet(replace(published, normalization=AsDecoded())).eval()
    raw.load_state_dict(bounded.state_dict())
    asked = replace(view, vocabulary="published")
    with torch.no_grad():
        before, after = dict(raw(asked)), dict(bounded(asked))
    assert torch.allclose(2 * torch.sigmoid(before["norm.weight"] / 2), after["norm.weight"])
    assert torch.allclose(torch.tanh(before["norm.bias"] / 5), after["norm.bias"])
    assert torch.allclose(before["conv.weight"] * (2 / 27) ** 0.5, after["conv.weight"])


def test_logah_can_have_a_network_for_vectors() -> None:
    config = LowRankVectorsConfig(rank=2, width=32, max_out=16, max_in=16, classes=5)
    decoder = config.build(8)
    states = torch.randn(3, 8)
    pairs = decoder.vector(states).view(3, 2, 4)
    assert torch.equal(decoder.vectors(states, Key(True, False, 16, 1, 1, 1)), pairs)
    assert torch.equal(decoder.vectors(states, Key(True, True, 5, 1, 1, 1)), decoder.class_vector(pairs.relu()))
    key = Key(False, False, 6, 4, 3, 3)
    assert torch.equal(decoder.weights(states, key), decoder.matrix.weights(states, key))
    with pytest.raises(HypernetError, match="decoder.max_out"):
        replace(config, max_out=64)
