"""Hidden units are matched whatever order they stand in."""

import pytest
import torch

from benchmarks.diffusion.alignment import matches, unmoved

Block = dict[str, torch.Tensor]


def block() -> Block:
    torch.manual_seed(0)
    return {"a.pwconv1.weight": torch.randn(12, 5), "a.pwconv2.weight": torch.randn(5, 12), "a.norm": torch.ones(5)}


def test_a_shuffled_block_is_recognized() -> None:
    pytest.importorskip("scipy")
    one = block()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    other = one | {
        "a.pwconv1.weight": one["a.pwconv1.weight"][order],
        "a.pwconv2.weight": one["a.pwconv2.weight"][:, order],
    }
    (found,) = matches(one, other)
    assert torch.equal(order[found], torch.arange(12))
    assert unmoved(one, one) == 1.0 and unmoved(one, other) < 0.5
