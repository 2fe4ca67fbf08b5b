"""The low-rank decoder against the published order of steps: expand everything, look at it anew, multiply, crop."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from paramgen.errors import HypernetError
from paramgen.hypernets.decoders.low_rank import LowRank, LowRankConfig
from paramgen.hypernets.grouping import Key

RANK, WIDTH, HIDDEN = 4, 24, 8
CONFIG = LowRankConfig(rank=RANK, width=WIDTH, max_out=24, max_in=24, scaled=False)


@pytest.fixture
def decoder() -> LowRank:
    torch.manual_seed(0)
    return LowRank(CONFIG, HIDDEN).double()


@pytest.fixture
def states() -> Tensor:
    return torch.randn(3, HIDDEN, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def factors(decoder: LowRank, state: Tensor) -> tuple[Tensor, Tensor]:
    seed = decoder.mlp[:-1](state).view(2 * RANK, RANK)
    expanded = seed.relu() @ decoder.expand.weight.T + decoder.expand.bias  # (2 rank, width)
    rows = expanded.reshape(2 * WIDTH, RANK)
    return rows[:WIDTH], rows[WIDTH:]


@pytest.mark.parametrize("size", [(24, 24, 1, 1), (5, 7, 1, 1), (3, 2, 4, 5), (1, 24, 1, 1), (8, 8, 3, 3)])
def test_weights_equal_the_published_steps(decoder: LowRank, states: Tensor, size: tuple[int, int, int, int]) -> None:
    out, inputs, kh, kw = size
    weights = decoder.weights(states, Key(False, False, *size))
    for state, weight in zip(states, weights, strict=True):
        left, right = factors(decoder, state)
        expected = (left[: out * kh] @ right[: inputs * kw].T).reshape(out, kh, inputs, kw).permute(0, 2, 1, 3)
        torch.testing.assert_close(weight, expected)


def test_vectors_are_the_halves_of_one_column(decoder: LowRank, states: Tensor) -> None:
    pairs = decoder.vectors(states, Key(True, False, 5, 1, 1, 1))
    for state, pair in zip(states, pairs, strict=True):
        left, right = factors(decoder, state)
        torch.testing.assert_close(pair, (left[:10] @ right[0]).reshape(2, 5))


def test_what_exceeds_a_factor_is_left_to_tiling(decoder: LowRank, states: Tensor) -> None:
    assert decoder.weights(states, Key(False, False, 24, 24, 7, 5)).shape == (3, 3, 4, 7, 5)
    assert decoder.vectors(states, Key(True, False, 24, 1, 1, 1)).shape == (3, 2, 12)


def test_new_scaled_decoders_give_weights_of_unit_size() -> None:
    torch.manual_seed(0)
    decoder = LowRank(LowRankConfig(rank=32, width=4096, max_out=4096, max_in=4096, scaled=True), 64)
    weights = decoder.weights(torch.randn(8, 64), Key(False, False, 256, 256, 1, 1)).detach()
    assert 0.7 < float(weights.pow(2).mean().sqrt()) < 1.4


@pytest.mark.parametrize("change", [{"rank": 0}, {"width": 1}, {"max_out": 25}])
def test_refuses_sizes_outside_the_limits(change: dict[str, Any]) -> None:
    with pytest.raises(HypernetError):
        replace(CONFIG, **change)
