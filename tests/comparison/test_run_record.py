"""A run that was kept may be anybody's: it has what figures are made of, or is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from paramgen.comparison import run_record
from paramgen.comparison.run_record import RESULTS_VERSION, read_run
from paramgen.errors import OutputError

RUN: dict[str, Any] = {
    "format_version": RESULTS_VERSION,
    "status": "finished",
    "steps": [0, 5],
    "accuracy": [None, 0.5],
    "loss": [2.0, 1.0],
    "train_loss": [None, 1.5],
    "validation": {"accuracy": 0.4, "loss": 1.1},
    "seconds": 1.0,
    "init_seconds": 0,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.json"


@pytest.mark.parametrize(
    "run",
    [
        RUN,
        {**RUN, "numbers": 10, "nbytes": 48},
        {**RUN, "status": "diverged", "validation": None},
        {"format_version": RESULTS_VERSION, "status": "failed", "reason": "it broke"},
    ],
)
def test_runs_are_read(file: Path, run: dict[str, Any]) -> None:
    file.write_text(json.dumps(run))
    assert {"format_version": RESULTS_VERSION, **read_run(file).to_json()} == run


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"status": "evil"}, "status"),
        ({"numbers": -1}, "numbers"),
        ({"nbytes": 1.5}, "nbytes"),
        ({"status": "failed"}, "reason"),
        ({"steps": None}, "steps"),
        ({"steps": [0, "5"]}, "steps"),
        ({"steps": [0, 5, 10]}, "accuracy"),
        ({"accuracy": {"0": 1}}, "accuracy"),
        ({"loss": [float("nan"), 1]}, "loss"),
        ({"loss": [1, 10**400]}, "loss"),
        ({"train_loss": ["<script>", 1]}, "train_loss"),
        ({"validation": {"accuracy": 0.5}}, "validation"),
        ({"validation": [1, 2]}, "validation"),
        ({"seconds": True}, "seconds"),
        ({"init_seconds": "x"}, "init_seconds"),
    ],
)
def test_what_a_run_has_not_is_refused(file: Path, change: dict[str, Any], named: str) -> None:
    file.write_text(json.dumps({**RUN, **change}))
    with pytest.raises(OutputError, match=f"has no '{named}'"):
        read_run(file)


@pytest.mark.parametrize("name", [name for name in RUN if name != "format_version"])
def test_a_run_without_one_of_its_values_is_refused_by_name(file: Path, name: str) -> None:
    file.write_text(json.dumps({key: value for key, value in RUN.items() if key != name}))
    with pytest.raises(OutputError, match=f"has no '{name}'"):
        read_run(file)


@pytest.mark.parametrize("text", ["", "[" * 10**5, "[]", "\ufeff{}"])
def test_what_is_no_object_is_refused_in_a_line(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(OutputError, match="Delete it") as caught:
        read_run(file)
    assert "\n" not in str(caught.value)


def test_a_large_file_is_not_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_record, "MAX_RUN_BYTES", 10)
    file.write_text(json.dumps(RUN))
    with pytest.raises(OutputError, match="allowed are 10"):
        read_run(file)


@pytest.mark.parametrize("version", [None, 0, RESULTS_VERSION + 1, "1"])
def test_another_format_is_refused_by_its_number(file: Path, version: object) -> None:
    file.write_text(json.dumps({**RUN, "format_version": version}))
    with pytest.raises(OutputError, match=f"has the format_version {version!r}; this version of paramgen reads"):
        read_run(file)
