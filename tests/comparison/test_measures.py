"""Figures drawn from runs, by hand-made runs whose figures are known."""

from typing import Any

import pytest

from paramgen.comparison.measures import area, best_rate, curve_of, reached, start_of
from paramgen.comparison.protocol import Protocol

POINTS = (0, 50, 100)
IMAGES = {"metric": "accuracy", "chance": 0.1, "at_chance_up_to": 0.12, "test": 2000}
PROTOCOL = Protocol(steps=100, evaluations=2, seeds=2, rates=(1e-3, 3e-3, 1e-2))


def run(*accuracy: float, status: str = "finished") -> dict[str, Any]:
    return {
        "status": status,
        "steps": list(POINTS[: len(accuracy)]),
        "accuracy": list(accuracy),
        "seconds": 1.0,
        "start_seconds": 0.5,
    }


def test_steps_to_a_value_are_read_off_the_lines_between_points() -> None:
    assert reached([0.1, 0.3, 0.5], POINTS, 0.4, "accuracy") == 75
    assert reached([0.1, 0.3, 0.5], POINTS, 0.1, "accuracy") == 0
    assert reached([0.1, 0.3, 0.5], POINTS, 0.6, "accuracy") is None
    assert reached([5.0, 3.0, 1.0], POINTS, 2.0, "perplexity") == 75


def test_the_area_is_a_mean_height() -> None:
    assert area([0.0, 0.5, 0.5], POINTS) == pytest.approx(0.375)


def test_a_diverged_run_counts_as_guessing_from_there_on() -> None:
    assert curve_of(run(0.1, 0.4, status="diverged"), POINTS, IMAGES) == [0.1, 0.4, 0.1]
    assert curve_of({"steps": [0, 50, 100], "accuracy": [None, 0.2, 0.3]}, POINTS, IMAGES) == [0.1, 0.2, 0.3]


def test_the_best_rate_ends_best_and_among_equals_has_the_better_curve() -> None:
    assert best_rate({1e-3: [run(0.1, 0.2, 0.3)], 3e-3: [run(0.1, 0.2, 0.4)], 1e-2: []}, POINTS, IMAGES) == 3e-3
    assert best_rate({1e-3: [run(0.1, 0.2, 0.4)], 3e-3: [run(0.1, 0.3, 0.4)]}, POINTS, IMAGES) == 3e-3
    assert best_rate({1e-3: [run(0.1, 0.6, 0.4)], 3e-3: [run(0.1, 0.1, 0.41)]}, POINTS, IMAGES) == 3e-3
    assert best_rate({1e-3: []}, POINTS, IMAGES) is None


def test_the_best_rate_of_a_text_has_the_smallest_loss() -> None:
    task = {"metric": "perplexity", "chance": 3.0, "uniform": 5.5}
    runs = {rate: [{"steps": list(POINTS), "loss": [5.5, 4.0, end]}] for rate, end in ((1e-3, 2.0), (3e-3, 1.5))}
    assert best_rate(runs, POINTS, task) == 3e-3


def test_a_start_is_summed_up_at_its_best_rate() -> None:
    runs = {
        (1e-3, 0): run(0.1, 0.2, 0.3),
        (3e-3, 0): run(0.1, 0.2, 0.5),
        (1e-2, 0): run(0.1, status="diverged"),
        (3e-3, 1): run(0.2, 0.3, 0.4),
    }
    found = start_of("mimetic", runs, PROTOCOL, IMAGES)
    assert (found["rate"], found["rate_at_edge"], found["diverged"], found["simple"]) == (3e-3, None, 1, True)
    assert found["final"]["values"] == [0.5, 0.4] and found["final"]["mean"] == pytest.approx(0.45)
    assert found["final"]["std"] == pytest.approx(0.0707107, abs=1e-6)
    assert found["zero_shot"]["mean"] == pytest.approx(0.15)
    assert found["rates"]["0.01"]["values"] == [0.1]
    assert not start_of("hypernet:folder", runs, PROTOCOL, IMAGES)["simple"]


def test_rates_are_compared_on_the_seeds_that_have_them_all() -> None:
    runs = {(1e-3, 0): run(0.1, 0.2, 0.4), (3e-3, 0): run(0.1, 0.2, 0.3), (1e-2, 0): run(0.1, 0.1, 0.1)}
    lucky = runs | {(1e-3, 1): run(0.1, 0.1, 0.1)}
    assert start_of("he", lucky, PROTOCOL, IMAGES)["rate"] == 1e-3
    assert start_of("he", lucky, PROTOCOL, IMAGES)["rate_at_edge"] == "smallest"


def test_what_failed_is_counted_and_left_out() -> None:
    failed = {"status": "failed", "reason": "RuntimeError: no memory"}
    runs = {(1e-3, 0): failed, (3e-3, 0): run(0.1, 0.2, 0.3), (3e-3, 1): failed}
    found = start_of("he", runs, PROTOCOL, IMAGES)
    assert (found["failed"], found["reasons"], found["seeds"]) == (2, ["RuntimeError: no memory"], [0])
    assert start_of("he", {(1e-3, 0): failed}, PROTOCOL, IMAGES)["rate"] is None


def test_rates_rise_and_fall() -> None:
    rates = [PROTOCOL.rate_at(step, 1.0) for step in range(100)]
    assert rates[:5] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert rates[5] == 1.0 and rates[5:] == sorted(rates[5:], reverse=True) and rates[-1] < 0.001
    level = Protocol(steps=100, schedule="constant")
    assert {level.rate_at(step, 0.3) for step in range(5, 100)} == {0.3}


def test_a_short_run_is_tested_after_every_step() -> None:
    assert Protocol(steps=3).points == (0, 1, 2, 3)
    assert Protocol(steps=100, evaluations=4).points == (0, 25, 50, 75, 100)
