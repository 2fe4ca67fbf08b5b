import pytest

from paramgen.errors import HypernetError
from paramgen.graphs.views.view import SlotRequest
from paramgen.hypernets.grouping import Key, grouped, kernel_shape, key_of, rounded


@pytest.mark.parametrize(
    ("size", "limit", "expected"),
    [(64, 32, 32), (24, 32, 32), (6, 32, 8), (15, 64, 20), (16, 32, 32), (100, 2048, 100), (384, 2048, 512)],
)
def test_rounding_is_the_published_one(size: int, limit: int, expected: int) -> None:
    assert rounded(size, limit) == expected


def test_slots_of_one_decoded_size_share_a_batch() -> None:
    requests = (
        SlotRequest("a", 0, "weight", (64, 3, 7, 7)),
        SlotRequest("b", 1, "scale", (64,)),
        SlotRequest("c", 1, "bias", (64,)),
        SlotRequest("d", 2, "weight", (128, 3, 7, 7)),
        SlotRequest("e", 3, "class_weight", (10, 128)),
        SlotRequest("f", 4, "class_bias", (10,)),
    )
    groups = grouped(requests, (32, 32))
    assert [[request.slot for request in group] for group in groups.values()] == [["a", "d"], ["b", "c"], ["e"], ["f"]]
    assert next(iter(groups)) == Key(False, False, 32, 3, 7, 7)


def test_position_tables_keep_their_width() -> None:
    assert key_of(SlotRequest("p", 0, "position", (1, 197, 768)), (32, 32)) == Key(False, False, 1, 768, 14, 14)


def test_weights_are_seen_as_out_in_kh_kw() -> None:
    assert kernel_shape(SlotRequest("a", 0, "weight", (4, 6), in_out=True)) == (6, 4, 1, 1)
    assert kernel_shape(SlotRequest("a", 0, "weight", (4, 6, 5))) == (4, 6, 1, 5)


@pytest.mark.parametrize(
    "request_",
    [
        SlotRequest("a", 0, "weight", (4,)),
        SlotRequest("a", 0, "weight", (4, 3, 1, 1, 1)),
        SlotRequest("a", 0, "weight", (4, 3, 2), in_out=True),
        SlotRequest("a", 0, "bias", (4, 3)),
        SlotRequest("a", 0, "position", (2, 4, 3)),
    ],
)
def test_refuses_shapes_that_a_role_does_not_have(request_: SlotRequest) -> None:
    with pytest.raises(HypernetError, match="'a' of shape"):
        key_of(request_, (32, 32))
