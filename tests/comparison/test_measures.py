"""Figures drawn from runs, by hand-made runs whose figures are known."""

from typing import Any

import pytest

from paramgen.comparison.measures import area, best_rate, curve_of, reached, start_of
from paramgen.comparison.protocol import Protocol

POINTS = (0, 50, 100)
IMAGES = {"metric": "accuracy", "chance": 0.1, "at_chance_up_to": 0.12, "test": 2000}
PROTOCOL = Protocol(steps=100, evaluations=2, seeds=2, rates=(1e-3, 3e-3, 1e-2))


def run(*accuracy: float, status: str = "finished", kept_back: float | None = None) -> dict[str, Any]:
    """A run whose validation images say the same as the test, unless another value is given."""
    end = accuracy[-1] if kept_back is None else kept_back
    return {
        "validation": None if status == "diverged" else {"accuracy": end, "loss": 1 - end},
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


def test_the_best_rate_is_chosen_on_the_validation_data_and_never_on_the_test() -> None:
    lucky = run(0.1, 0.2, 0.9, kept_back=0.3)
    assert best_rate({1e-3: [run(0.1, 0.2, 0.4)], 3e-3: [lucky]}, "accuracy") == 1e-3
    assert best_rate({1e-3: [run(0.1, 0.2, 0.3)], 3e-3: [run(0.1, 0.2, 0.4)], 1e-2: []}, "accuracy") == 3e-3
    assert best_rate({1e-3: []}, "accuracy") is None


def test_among_equal_rates_the_smaller_loss_is_best_then_the_smaller_rate() -> None:
    sure = run(0.1, 0.3, 0.4) | {"validation": {"accuracy": 0.4, "loss": 0.5}}
    assert best_rate({1e-3: [run(0.1, 0.2, 0.4)], 3e-3: [sure]}, "accuracy") == 3e-3
    assert best_rate({3e-3: [run(0.1, 0.2, 0.4)], 1e-3: [run(0.1, 0.2, 0.4)]}, "accuracy") == 1e-3


def test_a_rate_that_diverges_on_one_seed_is_last() -> None:
    broken = [run(0.1, 0.2, 0.9), run(0.1, status="diverged")]
    assert best_rate({1e-3: [run(0.1, 0.2, 0.2)] * 2, 3e-3: broken}, "accuracy") == 1e-3


def test_the_best_rate_of_a_text_has_the_smallest_loss() -> None:
    runs = {rate: [{"validation": {"accuracy": 0.0, "loss": loss}}] for rate, loss in ((1e-3, 2.0), (3e-3, 1.5))}
    assert best_rate(runs, "perplexity") == 3e-3


def test_a_grid_is_widened_where_its_edge_is_best() -> None:
    grid = Protocol(rates=(1e-3, 2e-3, 4e-3), widen=2)
    assert grid.beyond(2e-3, grid.rates) is None
    assert grid.beyond(4e-3, grid.rates) == 8e-3 and grid.beyond(1e-3, grid.rates) == 5e-4
    assert grid.beyond(8e-3, (*grid.rates, 8e-3)) == 1.6e-2
    assert grid.beyond(1.6e-2, (*grid.rates, 8e-3, 1.6e-2)) is None  # so far and no further
    assert grid.beyond(1e-3, (*grid.rates, 8e-3, 1.6e-2)) == 5e-4  # the other edge has its own
    assert Protocol(rates=(1e-3,)).beyond(1e-3, (1e-3,)) is None
    assert Protocol(rates=(1e-3, 2e-3), widen=0).beyond(1e-3, (1e-3, 2e-3)) is None


def test_five_rates_span_a_factor_of_thirty() -> None:
    rates = Protocol().rates
    assert len(rates) >= 5 and max(rates) / min(rates) >= 30


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
