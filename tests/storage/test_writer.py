"""What the writer puts on disk is read back with safetensors' own reader, and equals what its own writer puts there."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from huggingface_hub import load_torch_model
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from paramgen.errors import IncompleteStateError, OutputError
from paramgen.storage import writer as module
from paramgen.storage.plan import STORED_DTYPES, Entry, plan
from paramgen.storage.writer import SafetensorsWriter, pieces

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2), "steps": torch.tensor(7)}


def entries(state: Mapping[str, Tensor]) -> list[Entry]:
    return [Entry(name, tuple(tensor.shape), tensor.dtype) for name, tensor in state.items()]


def write(state: Mapping[str, Tensor], folder: Path, **options: Any) -> None:
    with SafetensorsWriter(plan(entries(state), **options), folder) as writer:
        for name, tensor in state.items():
            writer.write(name, tensor)


def read(folder: Path) -> dict[str, Tensor]:
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Equality of names, shapes, dtypes and bytes: NaNs are equal to themselves here."""
    return one.keys() == other.keys() and all(
        tensor.dtype == other[name].dtype and tensor.shape == other[name].shape and raw(tensor).equal(raw(other[name]))
        for name, tensor in one.items()
    )


def raw(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8)


@st.composite
def states(program: st.DrawFn) -> dict[str, Tensor]:
    names = program(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=6, unique=True))
    state = {}
    for number, name in enumerate(names):
        shape = program(st.lists(st.integers(0, 4), max_size=4))
        dtype = program(st.sampled_from(list(STORED_DTYPES)))
        generator = torch.Generator().manual_seed(number)
        flat = torch.randint(0, 2 if dtype == torch.bool else 256, (*shape, dtype.itemsize), generator=generator)
        tensor = flat.to(torch.uint8).view(dtype).reshape(shape)
        if program(st.booleans()) and tensor.dim() > 1:
            tensor = tensor.transpose(0, -1).contiguous().transpose(0, -1)
        state[name] = tensor
    return state


@settings(deadline=None, max_examples=60)
@given(states(), st.randoms(use_true_random=False), st.integers(1, 100))
def test_every_file_is_read_back(state: dict[str, Tensor], random: Random, limit: int) -> None:
    order = list(state)
    random.shuffle(order)
    with TemporaryDirectory() as one, TemporaryDirectory() as many:
        planned = plan(entries(state))
        with SafetensorsWriter(planned, Path(one)) as writer:
            for name in order:
                writer.write(name, state[name])
        file = Path(one, "model.safetensors")
        official = save({name: tensor.contiguous() for name, tensor in state.items()}, {"format": "pt"})
        assert file.read_bytes() == official
        assert planned.files == {"model.safetensors": len(official)}
        with safe_open(file, "pt") as opened:
            assert same({name: opened.get_tensor(name) for name in opened.keys()}, state)  # noqa: SIM118

        write(state, Path(many), max_shard=limit)
        assert same(read(Path(many)), state)
        written = {path.name: path.stat().st_size for path in Path(many).iterdir()}
        assert written == plan(entries(state), max_shard=limit).files


def test_every_dtype_stands_where_the_official_writer_puts_it(tmp_path: Path) -> None:
    state = {f"slot{number}": torch.zeros(3, dtype=dtype) for number, dtype in enumerate(reversed([*STORED_DTYPES]))}
    write(state, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == save(state, {"format": "pt"})


def test_a_model_is_loaded_from_its_shards(tmp_path: Path) -> None:
    source, target = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 8)), nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 8))
    write(source.state_dict(), tmp_path, max_shard="150B")
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    load_torch_model(target, tmp_path, strict=True)
    assert same(target.state_dict(), source.state_dict())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.float32, torch.float8_e4m3fn])
@pytest.mark.parametrize("layout", ["rows", "columns", "one row", "strided", "expanded", "parameter"])
def test_conversion_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, layout: str) -> None:
    monkeypatch.setattr(module, "CHUNK", 64)
    tensor = torch.randn(30, 7, 11, generator=torch.Generator().manual_seed(0))
    tensor = {
        "rows": tensor,
        "columns": tensor.permute(2, 0, 1),
        "one row": tensor.reshape(1, -1),
        "strided": tensor[::3, :, ::2],
        "expanded": tensor[:1].expand(9, 7, 11),
        "parameter": nn.Parameter(tensor),
    }[layout]
    with SafetensorsWriter(plan([Entry("slot", tuple(tensor.shape), dtype)]), tmp_path) as writer:
        writer.write("slot", tensor)
    assert same(read(tmp_path), {"slot": tensor.detach().to(dtype)})


def test_pieces_are_views_of_bounded_size() -> None:
    tensor = torch.arange(10_000).reshape(20, 10, 50).permute(2, 0, 1)
    cut = list(pieces(tensor, 64))
    assert max(piece.numel() for piece in cut) <= 64
    assert len(cut) <= 2 * tensor.numel() / 64 + 50
    assert {piece.untyped_storage().data_ptr() for piece in cut} == {tensor.untyped_storage().data_ptr()}
    assert torch.cat([piece.reshape(-1) for piece in cut]).equal(tensor.reshape(-1))


def test_lazy_conjugates_and_negatives_are_written_as_they_read(tmp_path: Path) -> None:
    tensor = torch.tensor([1 + 2j, 3 - 4j])
    state = {"conjugate": tensor.conj(), "negative": tensor.conj().imag}
    write(state, tmp_path)
    assert read(tmp_path)["conjugate"].tolist() == [1 - 2j, 3 + 4j]
    assert read(tmp_path)["negative"].tolist() == [-2.0, 4.0]


def test_threads_share_a_writer(tmp_path: Path) -> None:
    state = {f"slot{number}": torch.full((999,), float(number)) for number in range(64)}
    planned = plan(entries(state), max_shard="50KB")
    with SafetensorsWriter(planned, tmp_path) as writer:
        threads = [threading.Thread(target=writer.write, args=item) for item in state.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert same(read(tmp_path), state)


def test_parts_stand_at_every_place(tmp_path: Path) -> None:
    values = torch.arange(10.0)
    planned = plan([Entry("one", (2, 5), torch.float32), Entry("other", (10,), torch.float64)])
    with SafetensorsWriter(planned, tmp_path) as writer:
        writer.write_pieces(("one", "other"), torch.split(values, 3))
    assert same(read(tmp_path), {"one": values.view(2, 5), "other": values.double()})


@pytest.mark.parametrize("count", [5, 7])
def test_too_many_or_too_few_parts(tmp_path: Path, count: int) -> None:
    message = f"'weight' was given {count} elements.* planned is \\(2, 3\\)"
    with (
        pytest.raises(IncompleteStateError, match=message),
        SafetensorsWriter(plan(entries(STATE)), tmp_path) as writer,
    ):
        writer.write_pieces(("weight",), torch.split(torch.ones(count), 2))
    assert list(tmp_path.iterdir()) == []


def refused(folder: Path, error: type[Exception], match: str, writes: Mapping[str, Tensor], again: str = "") -> None:
    with pytest.raises(error, match=match) as caught, SafetensorsWriter(plan(entries(STATE)), folder) as writer:
        for name, tensor in writes.items():
            writer.write(name, tensor)
        if again:
            writer.write(again, writes[again])
    assert "\n" not in str(caught.value)
    assert list(folder.iterdir()) == []


def test_a_misshapen_tensor(tmp_path: Path) -> None:
    message = r"'weight' was given a tensor of shape \(3, 2\); planned is \(2, 3\)"
    refused(tmp_path, IncompleteStateError, message, {**STATE, "weight": torch.ones(3, 2)})


def test_an_unknown_slot(tmp_path: Path) -> None:
    refused(tmp_path, IncompleteStateError, "No slot is called 'extra' among the 3", {**STATE, "extra": torch.ones(1)})


def test_a_slot_twice(tmp_path: Path) -> None:
    refused(tmp_path, IncompleteStateError, "'bias' was given a second tensor", STATE, again="bias")


def test_missing_slots(tmp_path: Path) -> None:
    refused(tmp_path, IncompleteStateError, "2 of 3 slots have no tensor, first 'weight'", {"bias": STATE["bias"]})


@pytest.mark.parametrize(
    ("name", "tensor", "match"),
    [
        ("steps", torch.tensor(0.5), "'steps' was given a torch.float32 tensor; planned is torch.int64"),
        ("bias", torch.ones(2, dtype=torch.complex64), "'bias' was given a torch.complex64"),
        ("bias", torch.ones(2, device="meta"), "'bias' was given a .* tensor on meta"),
        ("bias", torch.ones(2).to_sparse(), "'bias' was given a torch.sparse_coo tensor"),
    ],
)
def test_values_that_the_slot_cannot_hold(tmp_path: Path, name: str, tensor: Tensor, match: str) -> None:
    refused(tmp_path, IncompleteStateError, match, {**STATE, name: tensor})


def test_a_swallowed_failure_is_a_missing_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int, content: bytes, position: int) -> int:
        raise OSError(5, "Input/output error")

    with (
        pytest.raises(IncompleteStateError, match="1 of 3 slots have no tensor, first 'bias'"),
        SafetensorsWriter(plan(entries(STATE)), tmp_path) as writer,
    ):
        writer.write("weight", STATE["weight"])
        writer.write("steps", STATE["steps"])
        monkeypatch.setattr(os, "pwrite", broken)
        with pytest.raises(OutputError, match=r"Input/output error\. Needed are [\d,]+ bytes, free are [\d,]+"):
            writer.write("bias", STATE["bias"])
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_nothing_and_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), SafetensorsWriter(plan(entries(STATE), max_shard=10), tmp_path) as writer:
        writer.write("bias", STATE["bias"])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_before_is_neither_overwritten_nor_removed(tmp_path: Path) -> None:
    old = tmp_path / "model-00002-of-00003.safetensors"
    old.write_text("old")
    with pytest.raises(OutputError, match="File exists"):
        write(STATE, tmp_path, max_shard=10)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        write(STATE, tmp_path / "absent")


def test_without_reservation_the_free_space_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_reserved", lambda descriptor, size: False)
    write(STATE, tmp_path)
    assert same(read(tmp_path), STATE)
    huge = plan([Entry("huge", (1 << 50,), torch.float32)])
    (tmp_path / "model.safetensors").unlink()
    with (
        pytest.raises(OutputError, match=r"No space left.*Needed are 4,503,599,627,\d+"),
        SafetensorsWriter(huge, tmp_path),
    ):
        pytest.fail("entered")
    assert list(tmp_path.iterdir()) == []
