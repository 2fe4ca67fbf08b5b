from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paramgen.diffusion.blocks import BlockLayout
from paramgen.diffusion.codec import WeightCodec
from paramgen.errors import PipelineError

SHAPES = st.lists(st.integers(1, 6), max_size=4).map(tuple)
NAMES = st.from_regex(r"[a-z]{1,6}(\.[a-z]{1,6}){0,2}", fullmatch=True)
SLOTS = st.dictionaries(NAMES, SHAPES, min_size=1, max_size=6)


def bits(shape: tuple[int, ...]) -> torch.Tensor:
    """Return any finite float32: small, large, negative zero, subnormal."""
    values = torch.randint(-(2**31), 2**31, shape, dtype=torch.int64).int().view(torch.float32)
    return values.nan_to_num(-0.0, 0.0, 0.0)


@settings(max_examples=40)
@given(SLOTS, st.integers(1, 40), st.integers(0, 1000))
def test_without_normalization_every_bit_comes_back(slots: dict[str, tuple[int, ...]], width: int, seed: int) -> None:
    torch.manual_seed(seed)
    tensors = {name: bits(shape) for name, shape in slots.items()}
    layout = BlockLayout(slots, width)
    blocks = layout.cut(tensors)
    assert blocks.shape == (sum(-(-prod(shape) // width) for shape in slots.values()), width) == (layout.count, width)
    found = layout.join(blocks)
    assert list(found) == list(slots)
    assert all(torch.equal(found[name].view(torch.int32), each.view(torch.int32)) for name, each in tensors.items())
    codec = WeightCodec(slots, width)  # before it is fitted, it subtracts nothing
    assert all(torch.equal(each, tensors[name]) for name, each in codec.decode(codec.encode(tensors)).items())


@settings(max_examples=20)
@given(SLOTS, st.integers(1, 40), st.integers(0, 1000), st.floats(1e-4, 1e4))
def test_normalized_values_come_back_to_a_millionth(
    slots: dict[str, tuple[int, ...]], width: int, seed: int, size: float
) -> None:
    torch.manual_seed(seed)
    updates = [{name: size * (torch.randn(shape) + 3) for name, shape in slots.items()} for _ in range(3)]
    codec = WeightCodec(slots, width)
    assert codec.fit(updates) == 1.0
    for update in updates:
        found = codec.decode(codec.encode(update))
        for index, (name, tensor) in enumerate(sorted(update.items())):
            scale = tensor.abs() + codec.mean[index].abs() + codec.std[index]
            assert bool(((found[name] - tensor).abs() <= 1e-6 * scale).all())
    inside = torch.cat([codec.encode(update).flatten() for update in updates])
    assert float(inside.abs().max()) < 50


def test_every_block_knows_its_layer_and_kind() -> None:
    layout = BlockLayout({"a.weight": (5,), "a.bias": (2,), "b.weight": (3,)}, 4)
    assert layout.layers == (0, 0, 1, 2) and layout.kinds == (1, 1, 0, 1)


def test_components_give_back_what_they_were_made_of() -> None:
    torch.manual_seed(0)
    slots = {"a.weight": (6, 5), "a.bias": (6,)}
    updates = [{name: torch.randn(shape) for name, shape in slots.items()} for _ in range(9)]
    codec = WeightCodec(slots, 4, 8)  # nine points span eight directions
    assert codec.fit(updates, whitening=0.5) == pytest.approx(1.0, abs=1e-6)
    for update in updates:
        found = codec.decode(codec.encode(update))
        assert all(torch.allclose(found[name], tensor, atol=1e-5) for name, tensor in update.items())
    blocks = torch.stack([codec.encode(update) for update in updates]).flatten(1)
    assert float(blocks.square().mean()) == pytest.approx(1.0, rel=0.01)
    few = WeightCodec(slots, 4, 2)
    assert 0.2 < few.fit(updates) < 0.8


def test_shared_tensors_come_with_what_is_decoded() -> None:
    codec = WeightCodec({"a.lora_B": (2, 1)}, 4, form="low_rank", shared={"a.lora_A": (1, 3)})
    codec.set_shared({"a.lora_A": torch.full((1, 3), 2.0)})
    found = codec.decode(codec.encode({"a.lora_B": torch.ones(2, 1)}))
    assert torch.equal(found["a.lora_A"], torch.full((1, 3), 2.0)) and torch.equal(found["a.lora_B"], torch.ones(2, 1))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"a": torch.ones(2)}, "'b' is missing"),
        ({"a": torch.ones(2), "b": torch.ones(3), "c": torch.ones(1)}, "'c' is unknown"),
        ({"a": torch.ones(2), "b": torch.ones(4)}, r"'b' has the shape \(4,\) instead of \(3,\)"),
    ],
)
def test_other_tensors_are_refused_with_the_difference(tensors: dict[str, torch.Tensor], said: str) -> None:
    with pytest.raises(PipelineError, match=said):
        WeightCodec({"a": [2], "b": [3]}, 4).encode(tensors)


@pytest.mark.parametrize(
    ("slots", "width", "said"),
    [
        ({"a": [2]}, 0, "0 wide"),
        ({}, 4, "0 tensors"),
        ({"a": [-1]}, 4, "every side"),
        ({"a": [10**9]}, 4, "values in"),
        ({"a": [10**6]}, 1, "blocks"),
    ],
)
def test_layouts_beyond_the_limits_take_no_memory(slots: dict[str, list[int]], width: int, said: str) -> None:
    with pytest.raises(PipelineError, match=said):
        WeightCodec(slots, width)
