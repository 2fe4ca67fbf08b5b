"""Which indices an axis takes: the same for all that share channels, and copies add up to what was copied."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paramgen.initializers.inheritance.axes import Heads, channels, colours, even, first_rows, query_rows, shared_rows

SIZES = st.integers(1, 40)


@given(had=SIZES, now=SIZES, parts=st.integers(1, 4))
def test_joined_channels_take_what_their_parts_take(had: int, now: int, parts: int) -> None:
    each = even(had, now)
    joined = torch.cat([each + part * had for part in range(parts)])
    assert torch.equal(even(parts * had, parts * now), joined)


@given(had=SIZES, times=st.integers(1, 4), inputs=SIZES)
def test_what_reads_copies_computes_what_it_did(had: int, times: int, inputs: int) -> None:
    generator = torch.Generator().manual_seed(had)
    weight, states = torch.randn(3, had, generator=generator), torch.randn(had, generator=generator)
    reads, writes = channels(had, had * times, shared=True), channels(had, had * times)
    torch.testing.assert_close(reads.taken(weight, 1) @ writes.taken(states, 0), weight @ states, atol=1e-4, rtol=1e-4)


def test_selection_is_even_and_keeps_pixels_together() -> None:
    assert channels(8, 4).sources.tolist() == [[0, 2, 4, 6]]
    assert channels(6, 4).sources.tolist() == [[0, 1, 3, 4]]
    assert channels(8, 4, pixels=2).sources.tolist() == [[0, 1, 4, 5]]
    assert channels(5, 5).operator == "exact"


def test_rows_that_a_table_lacks_take_nothing() -> None:
    rows = first_rows(3, 5)
    assert rows.known.tolist() == [0, 1, 2]
    assert rows.taken(torch.eye(3), 0).shape == (3, 3)


def test_colours_are_added_for_grey_images_and_shared_out_for_coloured_ones() -> None:
    kernel = torch.arange(3.0).view(1, 3)
    assert colours(3, 1).taken(kernel, 1).tolist() == [[3.0]]
    assert colours(1, 3).taken(torch.tensor([[3.0]]), 1)[0].tolist() == pytest.approx([1.0] * 3)


def test_heads_are_whole_and_keys_follow_their_queries() -> None:
    full, grouped = Heads(count=4, shared=4, width=2), Heads(count=4, shared=2, width=2)
    assert query_rows(full, Heads(count=2, shared=2, width=2)).sources.tolist() == [[0, 1, 4, 5]]
    pooled = shared_rows(full, grouped)
    assert pooled.operator == "pool"
    means = pooled.taken(torch.arange(8.0), 0)
    assert means.tolist() == [1.0, 2.0, 5.0, 6.0]
    assert shared_rows(grouped, full).sources.tolist() == [[0, 1, 0, 1, 2, 3, 2, 3]]
