"""Blocks of one kind are taken at even depths, and what is named alike stays itself."""

from paramgen.initializers.inheritance.by_name import aligned, spread


def test_the_first_block_and_the_last_stay_so() -> None:
    assert [spread(12, 8, index) for index in range(8)] == [0, 2, 3, 5, 6, 8, 9, 11]
    assert [spread(2, 4, index) for index in range(4)] == [0, 0, 1, 1]
    assert spread(5, 1, 0) == 0


def test_a_block_with_a_projection_takes_one_with_a_projection() -> None:
    donor = {f"layer.{index}.conv.weight": 4 for index in range(4)} | {"layer.0.skip.weight": 4, "head.weight": 2}
    mine = {f"layer.{index}.conv.weight": 4 for index in range(3)} | {"layer.0.skip.weight": 4, "head.weight": 2}
    assert aligned(mine, donor) == {
        "layer.0.conv.weight": "layer.0.conv.weight",
        "layer.0.skip.weight": "layer.0.skip.weight",
        "layer.1.conv.weight": "layer.1.conv.weight",
        "layer.2.conv.weight": "layer.3.conv.weight",
        "head.weight": "head.weight",
    }


def test_another_number_of_dimensions_is_another_thing() -> None:
    assert aligned({"a.weight": 2, "b": 1}, {"a.weight": 4, "b": 1}) == {"b": "b"}
