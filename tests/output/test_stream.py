"""Tensors on their way to the disk: figures are right, and pieces on several threads change no byte."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.output import stream as streaming
from paramgen.output.planning import plan_folder
from paramgen.output.stream import statistics_of
from paramgen.output.write import write_prediction
from paramgen.slots.init_program import InitProgram


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def moments(values: Tensor) -> tuple[float | None, float | None]:
    return statistics_of(values).moments()


@pytest.mark.parametrize(
    "values",
    [
        drawn(70_000),
        torch.full((33_000,), 0.1),
        1000 + 0.01 * drawn(50_000),
        drawn(300, 200).t(),
        drawn(5000).bfloat16(),
        torch.arange(40_000),
        torch.tensor(3.0),
    ],
    ids=["normal", "constant", "far from zero", "columns", "bfloat16", "integers", "scalar"],
)
def testmoments(values: Tensor) -> None:
    mean, std = moments(values)
    assert mean == pytest.approx(float(values.double().mean()), rel=1e-5, abs=1e-6)  # sums are in float32
    assert std == pytest.approx(float(values.double().std(correction=0)), rel=1e-4, abs=1e-7)


def test_moments_that_do_not_exist() -> None:
    assert moments(torch.zeros(0)) == (None, None)
    assert moments(torch.tensor([0.0, torch.inf])) == (None, None)
    assert moments(torch.tensor([1.0, torch.nan])) == (None, None)
    assert moments(torch.tensor([3e38, -3e38])) != (0.0, 0.0)


def test_the_number_of_threads_does_not_matter() -> None:
    values, threads = torch.randn(200_000), torch.get_num_threads()
    one = moments(values)
    try:
        torch.set_num_threads(2)
        assert moments(values) == one
    finally:
        torch.set_num_threads(threads)


class Tied(nn.Module):
    """On the meta device, so that there is nothing to keep."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(70, 20, device="meta")
        self.hidden = nn.Linear(20, 20, device="meta")
        self.output = nn.Linear(20, 70, bias=False, device="meta")
        self.output.weight = self.table.weight

    def forward(self, words: Tensor) -> Tensor:
        return self.output(self.hidden(self.table(words)))


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_pieces_are_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str | None) -> None:
    in_pieces: list[str] = []
    pieces = InitProgram.chunks

    def counted(self: InitProgram, *given: Any) -> Iterator[Tensor]:
        in_pieces.append(str(self.size))
        return pieces(self, *given)

    def written() -> tuple[bytes, dict[str, dict[str, Any]]]:
        done = []
        paramgen.write(
            Tied(),
            tmp_path / "out",
            init="library",
            dtype=dtype,
            example_input=torch.zeros(2, 3, dtype=torch.long),
            overwrite=True,
            progress=lambda stage, count, total: done.append(count) if stage == "predict" else None,
        )
        assert done == sorted(done) and done[-1] == 70 * 20 + 20 * 20 + 20
        record = json.loads((tmp_path / "out" / "paramgen.json").read_text())
        return (tmp_path / "out" / "model.safetensors").read_bytes(), record["tensors"]

    monkeypatch.setattr(InitProgram, "chunks", counted)
    monkeypatch.setattr(streaming, "PIECE_ELEMENTS", 64)
    whole, record = written()
    assert in_pieces == []
    monkeypatch.setattr(streaming, "LARGE", 400)
    again, figures = written()
    assert sorted(in_pieces) == ["(20, 20)", "(70, 20)"]
    assert again == whole and figures.keys() == record.keys()
    for name, entry in record.items():
        assert figures[name]["sha256"] == entry["sha256"]
        assert figures[name]["mean"] == pytest.approx(entry["mean"], rel=1e-3)


def test_an_error_in_a_piece_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: InitProgram, *given: Any) -> Iterator[Tensor]:
        yield torch.zeros(3)
        raise ZeroDivisionError

    monkeypatch.setattr(InitProgram, "chunks", broken)
    monkeypatch.setattr(streaming, "LARGE", 400)
    with pytest.raises(ZeroDivisionError):
        paramgen.write(Tied(), tmp_path / "out", init="library", example_input=torch.zeros(2, 3, dtype=torch.long))
    assert list(tmp_path.iterdir()) == []


def test_slots_are_told_apart_without_a_look_at_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of ten thousand slots has as many names to compare each with."""
    looks: list[int] = []

    class Names(list[str]):
        def __iter__(self) -> Iterator[str]:
            looks.append(len(self))
            return super().__iter__()

    prediction = paramgen.predict(nn.Sequential(*(nn.Linear(2, 2) for _ in range(20))), init="he")
    stream = streaming._Stream.one_after_the_other
    monkeypatch.setattr(
        streaming._Stream, "one_after_the_other", lambda self, pool, apart: stream(self, pool, Names(apart))
    )
    monkeypatch.setattr(streaming, "_in_pieces", lambda *_: False)
    written = write_prediction(plan_folder(prediction), tmp_path / "out")
    assert len(written.prediction.rules) == 40 and len(looks) <= 3
