"""The convolutional decoder against the published order of steps: whole image, crop, pixel network, crop."""

import pytest
import torch
from torch import Tensor

from paramgen.hypernets.decoders.conv import Conv, ConvConfig
from paramgen.hypernets.grouping import Key

OUT, IN, SIDE, CLASSES, HIDDEN = 6, 4, 5, 10, 8


@pytest.fixture
def decoder() -> Conv:
    torch.manual_seed(0)
    decoder = Conv(ConvConfig(max_out=OUT, max_in=IN, kernel=SIDE, classes=CLASSES), HIDDEN).double()
    for parameter in decoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return decoder


@pytest.fixture
def states() -> Tensor:
    return torch.randn(3, HIDDEN, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def reference(decoder: Conv, states: Tensor, key: Key) -> Tensor:
    image = decoder.image(states).relu().view(-1, 4 * HIDDEN, SIDE, SIDE)
    top, left = max(0, SIDE // 2 - key.kh // 2), max(0, SIDE // 2 - key.kw // 2)
    image = image[:, :, top : SIDE // 2 + (key.kh + 1) // 2, left : SIDE // 2 + (key.kw + 1) // 2]
    slots, _, kh, kw = image.shape
    kernels = torch.empty(slots, OUT, IN, kh, kw, dtype=states.dtype)
    for row in range(kh):
        for column in range(kw):
            kernels[..., row, column] = decoder.pixel(image[:, :, row, column]).view(-1, OUT, IN)
    kernels = kernels[:, :, : key.inputs]
    if not key.classes:
        return kernels[:, : key.out]
    classes = torch.empty(slots, CLASSES, kernels.shape[2], 1, 1, dtype=states.dtype)
    for index in range(kernels.shape[2]):
        classes[:, :, index, 0, 0] = decoder.class_weight(kernels[:, :, index, 0, 0].relu())
    return classes


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 3), (1, 3), (4, 5), (5, 5), (7, 7)])
@pytest.mark.parametrize(("out", "inputs"), [(6, 4), (4, 3), (1, 1), (6, 9)])
def test_weights_equal_the_published_steps(
    decoder: Conv, states: Tensor, kernel: tuple[int, int], out: int, inputs: int
) -> None:
    key = Key(False, False, out, inputs, *kernel)
    torch.testing.assert_close(decoder.weights(states, key), reference(decoder, states, key), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("inputs", [1, 4])
def test_class_weights_equal_the_published_steps(decoder: Conv, states: Tensor, inputs: int) -> None:
    key = Key(False, True, 5, inputs, 1, 1)
    weights = decoder.weights(states, key)
    assert weights.shape == (3, CLASSES, inputs, 1, 1)
    torch.testing.assert_close(weights, reference(decoder, states, key), rtol=1e-10, atol=1e-12)


def test_vectors_come_in_pairs(decoder: Conv, states: Tensor) -> None:
    pairs = decoder.vectors(states, Key(True, False, 3, 1, 1, 1))
    torch.testing.assert_close(pairs, decoder.vector(states).view(3, 2, OUT))
    classes = decoder.vectors(states, Key(True, True, 3, 1, 1, 1))
    torch.testing.assert_close(classes[:, 1], decoder.class_vector(pairs[:, 1].relu()))


def test_new_decoders_give_kernels_of_unit_variance() -> None:
    torch.manual_seed(0)
    decoder = Conv(ConvConfig(max_out=32, max_in=32, kernel=3, classes=10), 64)
    kernels = decoder.weights(torch.randn(16, 64), Key(False, False, 32, 32, 3, 3)).detach()
    assert 0.7 < float(kernels.pow(2).mean().sqrt()) < 1.4
