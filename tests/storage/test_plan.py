"""The plan: sizes, shards and refusals. The bytes themselves are tested with the writer."""

import json

import pytest
import torch
from huggingface_hub import split_state_dict_into_shards_factory
from hypothesis import given
from hypothesis import strategies as st

from paramgen.errors import IncompleteStateError, OptionError, OutputError
from paramgen.storage.plan import Entry, Plan, parse_size, plan


def entries(*sizes: int) -> list[Entry]:
    return [Entry(f"slot{number}", (size,), torch.uint8) for number, size in enumerate(sizes)]


def shards(planned: Plan) -> list[list[str]]:
    return [[name for name, place in planned.places.items() if place.file == file] for file in planned.sizes]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5GB", 5_000_000_000),
        ("20MB", 20_000_000),
        ("300KB", 300_000),
        ("5GiB", 5 << 30),
        ("1.5 mb", 1_500_000),
        ("2tib", 2 << 40),
        ("9007199254740993B", 9007199254740993),
        (77, 77),
    ],
)
def test_sizes(text: str | int, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "5", "GB", "5G", "5 bytes", "-1GB", "0MB", "0.1B", "1e9B", "5GB!", 0, -3])
def test_a_size_that_cannot_be_used_lists_the_units(text: str | int) -> None:
    with pytest.raises(OptionError, match="KB, MB, GB, TB, KiB, MiB, GiB, TiB") as caught:
        parse_size(text)
    assert repr(text) in str(caught.value)


def test_a_large_entry_goes_alone_and_the_order_is_kept() -> None:
    planned = plan(entries(6, 20, 3, 2, 9), max_shard=10)
    assert shards(planned) == [["slot1"], ["slot0", "slot2"], ["slot3"], ["slot4"]]
    assert list(planned.sizes)[0] == "model-00001-of-00004.safetensors"


@given(st.lists(st.integers(0, 12), min_size=1, max_size=20), st.integers(1, 30))
def test_shards_are_those_of_save_pretrained(sizes: list[int], limit: int) -> None:
    ours = plan(entries(*sizes), max_shard=limit)
    theirs = split_state_dict_into_shards_factory(
        {entry.name: entry.nbytes for entry in entries(*sizes)},
        get_storage_size=lambda size: size,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=limit,
    )
    assert {name: place.file for name, place in ours.places.items()} == theirs.tensor_to_filename
    if theirs.is_sharded:
        index = json.loads(ours.index["model.safetensors.index.json"])
        assert index == {"metadata": {"total_size": sum(sizes)}, "weight_map": theirs.tensor_to_filename}
    assert bool(ours.index) == theirs.is_sharded


def test_one_file_where_all_fits_or_shards_are_unknown() -> None:
    assert list(plan(entries(4, 4), max_shard=8).files) == ["model.safetensors"]
    assert list(plan(entries(4, 4), max_shard=7, shardable=False).files) == ["model.safetensors"]
    assert list(plan([]).files) == ["model.safetensors"]


def test_shards_and_index_are_named_after_the_weights_file() -> None:
    planned = plan(entries(4, 4), max_shard=4, weights_file="diffusion_pytorch_model.safetensors")
    assert list(planned.files) == [
        "diffusion_pytorch_model-00001-of-00002.safetensors",
        "diffusion_pytorch_model-00002-of-00002.safetensors",
        "diffusion_pytorch_model.safetensors.index.json",
    ]


def test_tensors_begin_at_multiples_of_their_width() -> None:
    dtypes = [torch.bool, torch.float64, torch.bfloat16, torch.float32, torch.complex64]
    planned = plan([Entry("x" * number, (3,), dtype) for number, dtype in enumerate(dtypes)])
    assert all(place.offset % place.entry.dtype.itemsize == 0 for place in planned.places.values())


UINT4: torch.dtype = torch.uint4  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex32, UINT4, torch.float4_e2m1fn_x2])
def test_a_dtype_that_safetensors_lacks_names_the_slot(dtype: torch.dtype) -> None:
    with pytest.raises(OutputError, match=r"'head\.weight' is torch\.\w+, which safetensors cannot hold.*float32"):
        plan([Entry("head.weight", (2,), dtype)])


def test_a_name_twice_or_reserved_is_refused() -> None:
    with pytest.raises(IncompleteStateError, match="'slot0' stands twice"):
        plan(entries(1) + entries(2))
    with pytest.raises(OutputError, match="__metadata__"):
        plan([Entry("__metadata__", (1,), torch.float32)])


def test_a_header_that_no_reader_takes_is_refused() -> None:
    with pytest.raises(OutputError, match=r"100,000,000.*max_shard"):
        plan([Entry("x" * 100_000_000, (1,), torch.float32)])


@pytest.mark.parametrize("name", ["model.bin", "sub/model.safetensors", ""])
def test_the_weights_file_is_a_bare_safetensors_name(name: str) -> None:
    with pytest.raises(OptionError, match=r"bare name ending in \.safetensors"):
        plan(entries(1), weights_file=name)
