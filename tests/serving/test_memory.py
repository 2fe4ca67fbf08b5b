"""How much memory there is, by files that look like a control group's, and how much a prediction takes at its peak."""

from pathlib import Path

import pytest
import torch
from torch import nn, zeros

import paramgen.serving.memory
from paramgen.prediction import Prediction, prepare
from paramgen.serving.memory import BASE, machine_memory, peak_memory, program_memory
from paramgen.slots.init_program import InitProgram, InitStep, Register

KILO = (1000,)


def program(*steps: InitStep, result: int = 0) -> InitProgram:
    return InitProgram(steps, result, KILO, (1,), 0)


def filled(register: int) -> InitStep:
    return InitStep("full.default", (KILO, 1.0), {"dtype": torch.float64}, (register,))


EMPTY = InitStep("empty.memory_format", (KILO,), {}, (0,))


def test_an_init_program_takes_what_is_alive_at_once() -> None:
    assert program_memory(program(EMPTY, InitStep("normal_.default", (Register(0),), {}, (0,)))) == 4000
    later = [InitStep("detach.default", (Register(number),), {}, (10 + number,)) for number in (1, 2, 3)]
    together = program(filled(1), filled(2), filled(3), EMPTY, *later)
    assert program_memory(together) == 3 * 8000 + 4000 + 8000  # all of them, and a copy of the largest
    dropped = program(filled(1), filled(2), filled(3), EMPTY)  # nobody reads them again
    assert program_memory(dropped) < program_memory(together)


def test_views_share_what_they_show() -> None:
    views = [InitStep("view.default", (Register(0), (10, 100)), {}, (number,)) for number in (1, 2, 3)]
    last = [InitStep("detach.default", (Register(number),), {}, (number,)) for number in (1, 2, 3)]
    assert program_memory(program(EMPTY, *views, *last)) == 4000 + 4000


def predicted(init: str, width: int, dtype: str | None = None) -> Prediction:
    module = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
    return prepare(module, init=init, dtype=dtype, example_input=((zeros(2, width),), {}))


@pytest.mark.parametrize("init", ["he", "orthogonal", "lsuv", "mup"])
def test_a_prediction_takes_more_the_larger_its_largest_slots_are(init: str) -> None:
    matrix = 512 * 512 * 4
    narrow, wide = peak_memory(predicted(init, 64)), peak_memory(predicted(init, 512))
    assert narrow >= BASE
    assert wide - narrow > matrix
    assert wide - narrow < 20 * matrix


def test_another_dtype_is_another_tensor() -> None:
    assert peak_memory(predicted("he", 512, "float16")) - peak_memory(predicted("he", 512)) == 2 * 512 * 512 * 2


def group(root: Path, path: str, name: str, content: str) -> None:
    (root / path).mkdir(parents=True, exist_ok=True)
    (root / path / name).write_text(content, encoding="ascii")


def test_the_smallest_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = machine_memory()
    assert whole is not None and whole > 2**28
    monkeypatch.setattr(paramgen.serving.memory, "_CGROUP", tmp_path)
    group(tmp_path, ".", "memory.max", "max\n")
    physical = machine_memory()
    assert physical is not None and physical >= whole
    group(tmp_path, "memory", "memory.limit_in_bytes", "2000000\n")
    assert machine_memory() == 2_000_000
    group(tmp_path, ".", "memory.max", "1000000\n")
    assert machine_memory() == 1_000_000
