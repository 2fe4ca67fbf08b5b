"""Figures of an initialization from its runs, by hand-made runs whose figures are known."""

import json

import pytest

from paramgen.comparison.protocol import Protocol
from paramgen.comparison.results import InitializationResult, TaskSummary
from paramgen.comparison.run_record import RunRecord, Scores, Status
from paramgen.comparison.summary import curve_of, initialization_result

POINTS = (0, 50, 100)
IMAGES = TaskSummary(
    metric="accuracy", chance=0.1, at_chance_up_to=0.12, unit="image", train=9, validation=9, test=2000, classes=10
)
PROTOCOL = Protocol(steps=100, evaluations=2, seeds=2, lr=(1e-3, 3e-3, 1e-2))
FAILED = RunRecord.failure("RuntimeError: no memory")


def run(*accuracy: float | None, status: Status = "finished") -> RunRecord:
    """A run whose validation images say the same as the test."""
    end = accuracy[-1] or 0.0
    return RunRecord(
        status=status,
        steps=POINTS[: len(accuracy)],
        accuracy=accuracy,
        validation=None if status == "diverged" else Scores(accuracy=end, loss=1 - end),
        seconds=1.0,
        init_seconds=0.5,
    )


def summed(init: str, runs: dict[tuple[float, int], RunRecord]) -> InitializationResult:
    return initialization_result(init, runs, PROTOCOL, IMAGES)


def test_a_diverged_run_counts_as_guessing_from_there_on() -> None:
    assert curve_of(run(0.1, 0.4, status="diverged"), POINTS, IMAGES) == [0.1, 0.4, 0.1]
    assert curve_of(run(None, 0.2, 0.3), POINTS, IMAGES) == [0.1, 0.2, 0.3]


def test_an_initialization_is_summed_up_at_its_best_learning_rate() -> None:
    runs = {
        (1e-3, 0): run(0.1, 0.2, 0.3),
        (3e-3, 0): run(0.1, 0.2, 0.5),
        (1e-2, 0): run(0.1, status="diverged"),
        (3e-3, 1): run(0.2, 0.3, 0.4),
    }
    found = summed("mimetic", runs)
    assert found.best is not None
    assert (found.best.lr, found.best.lr_at_edge, found.diverged, found.simple) == (3e-3, None, 1, True)
    assert found.best.final.values == (0.5, 0.4) and found.best.final.mean == pytest.approx(0.45)
    assert found.best.final.std == pytest.approx(0.0707107, abs=1e-6)
    assert found.best.zero_shot.mean == pytest.approx(0.15)
    diverged = found.by_lr["0.01"]
    assert diverged is not None and diverged.values == (0.1,)
    assert not summed("hypernet:folder", runs).simple
    assert repr(found) == "InitializationResult('mimetic', AtBestLr(lr=0.003, final=0.45 ± 0.071, 2 seeds))"
    assert InitializationResult.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_learning_rates_are_compared_on_the_seeds_that_have_them_all() -> None:
    runs = {(1e-3, 0): run(0.1, 0.2, 0.4), (3e-3, 0): run(0.1, 0.2, 0.3), (1e-2, 0): run(0.1, 0.1, 0.1)}
    best = summed("he", runs | {(1e-3, 1): run(0.1, 0.1, 0.1)}).best
    assert best is not None and (best.lr, best.lr_at_edge) == (1e-3, "smallest")


def test_what_failed_is_counted_and_left_out() -> None:
    found = summed("he", {(1e-3, 0): FAILED, (3e-3, 0): run(0.1, 0.2, 0.3), (3e-3, 1): FAILED})
    assert (found.failed, found.reasons) == (2, ("RuntimeError: no memory",))
    assert found.best is not None and found.best.seeds == (0,)
    lost = summed("he", {(1e-3, 0): FAILED})
    assert lost.best is None and lost.to_json()["lr"] is None
    assert InitializationResult.from_json(lost.to_json()) == lost


def test_a_short_run_is_tested_after_every_step() -> None:
    assert Protocol(steps=3).points == (0, 1, 2, 3)
    assert Protocol(steps=100, evaluations=4).points == (0, 25, 50, 75, 100)
