"""The learning rate of an initialization is chosen on the validation data, and the grid is widened at its edges."""

from dataclasses import replace
from math import log
from typing import Any

import pytest

from paramgen.comparison.learning_rates import best_lr, runs_by_lr, tuning_seeds, validation_figures
from paramgen.comparison.protocol import Protocol
from paramgen.comparison.results import TaskSummary
from paramgen.comparison.run_record import RunRecord, Scores

PROTOCOL = Protocol(steps=100, evaluations=2, seeds=2, lr=(1e-3, 3e-3, 1e-2))


def run(end: float, *, test: float = 0.5, loss: float | None = None) -> RunRecord:
    """A run that ends with a validation accuracy, whatever it reaches on the test data."""
    scores = Scores(accuracy=end, loss=1 - end if loss is None else loss)
    return RunRecord(status="finished", steps=(0, 100), accuracy=(0.1, test), validation=scores)


DIVERGED = RunRecord(status="diverged", steps=(0,), accuracy=(0.1,))


def test_it_is_chosen_on_the_validation_data_and_never_on_the_test() -> None:
    assert best_lr({1e-3: [run(0.4)], 3e-3: [run(0.3, test=0.9)]}, "accuracy") == 1e-3
    assert best_lr({1e-3: [run(0.3)], 3e-3: [run(0.4)], 1e-2: []}, "accuracy") == 3e-3
    assert best_lr({1e-3: []}, "accuracy") is None


def test_among_equals_the_smaller_loss_is_best_then_the_smaller_learning_rate() -> None:
    assert best_lr({1e-3: [run(0.4)], 3e-3: [run(0.4, loss=0.5)]}, "accuracy") == 3e-3
    assert best_lr({3e-3: [run(0.4)], 1e-3: [run(0.4)]}, "accuracy") == 1e-3


def test_one_that_diverges_on_one_seed_is_last() -> None:
    assert best_lr({1e-3: [run(0.2)] * 2, 3e-3: [run(0.9), DIVERGED]}, "accuracy") == 1e-3


def test_the_best_of_a_text_has_the_smallest_loss() -> None:
    assert best_lr({1e-3: [run(0.0, loss=2.0)], 3e-3: [run(0.0, loss=1.5)]}, "perplexity") == 3e-3


def test_learning_rates_are_compared_on_one_seed_or_on_all() -> None:
    failed = RunRecord(status="failed", steps=(), accuracy=())
    runs = {(1e-3, 0): run(0.1), (1e-3, 1): run(0.2), (3e-3, 0): failed, (3e-2, 0): DIVERGED, (3e-2, 1): run(0.3)}
    assert tuning_seeds(PROTOCOL) == (0,)
    assert runs_by_lr(runs, PROTOCOL) == {1e-3: [run(0.1)], 3e-3: [], 1e-2: [], 3e-2: [DIVERGED]}
    every = replace(PROTOCOL, full_grid=True)
    assert tuning_seeds(every) == (0, 1)
    assert runs_by_lr(runs, every) == {1e-3: [run(0.1), run(0.2)], 3e-3: [], 1e-2: [], 3e-2: [DIVERGED, run(0.3)]}
    assert list(runs_by_lr(runs, every)) == [1e-3, 3e-3, 1e-2, 3e-2]


def test_the_mean_over_seeds_decides_between_learning_rates() -> None:
    assert best_lr({1e-3: [run(0.4), run(0.4)], 3e-3: [run(0.7), run(0.0)]}, "accuracy") == 1e-3
    losses = {1e-3: [run(0.4, loss=0.5), run(0.4, loss=0.9)], 3e-3: [run(0.4, loss=0.8), run(0.4, loss=0.5)]}
    assert best_lr(losses, "accuracy") == 3e-3


def test_among_those_that_diverge_the_smaller_learning_rate_is_best() -> None:
    assert best_lr({3e-3: [DIVERGED], 1e-3: [DIVERGED]}, "accuracy") == 1e-3
    assert best_lr({1e-3: [DIVERGED], 3e-3: [run(0.0, loss=1e9)]}, "perplexity") == 3e-3


@pytest.mark.parametrize(("uniform", "figures"), [(None, [0.4, 0.1]), (log(256), [0.6, log(256)])])
def test_one_that_diverged_counts_as_guessing(uniform: float | None, figures: list[float]) -> None:
    task = TaskSummary(
        metric="perplexity" if uniform else "accuracy",
        chance=0.1,
        at_chance_up_to=0.1,
        unit="byte",
        train=9,
        validation=9,
        test=9,
        uniform=uniform,
    )
    assert validation_figures([run(0.4), DIVERGED], task) == pytest.approx(figures)


def test_a_grid_is_widened_where_its_edge_is_best() -> None:
    grid = Protocol(lr=(1e-3, 2e-3, 4e-3), widen=2)
    assert grid.beyond(2e-3, grid.learning_rates) is None
    assert grid.beyond(4e-3, grid.learning_rates) == 8e-3 and grid.beyond(1e-3, grid.learning_rates) == 5e-4
    assert grid.beyond(8e-3, (*grid.learning_rates, 8e-3)) == 1.6e-2
    assert grid.beyond(1.6e-2, (*grid.learning_rates, 8e-3, 1.6e-2)) is None  # so far and no further
    assert grid.beyond(1e-3, (*grid.learning_rates, 8e-3, 1.6e-2)) == 5e-4  # the other edge has its own
    assert Protocol(lr=(1e-3, 2e-3), widen=0).beyond(1e-3, (1e-3, 2e-3)) is None


@pytest.mark.parametrize("lr", [1e-3, [1e-3], (1e-3,)])
def test_a_single_learning_rate_is_not_searched_for(lr: Any) -> None:
    protocol = Protocol(lr=lr)
    assert protocol.learning_rates == (1e-3,) and protocol.beyond(1e-3, (1e-3,)) is None
    assert protocol.to_json()["lr"] == [1e-3]


def test_five_learning_rates_span_a_factor_of_thirty() -> None:
    rates = Protocol().learning_rates
    assert len(rates) >= 5 and max(rates) / min(rates) >= 30


def test_they_rise_and_fall() -> None:
    rates = [PROTOCOL.lr_at(step, 1.0) for step in range(100)]
    assert rates[:5] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert rates[5] == 1.0 and rates[5:] == sorted(rates[5:], reverse=True) and rates[-1] < 0.001
    constant = Protocol(steps=100, schedule="constant")
    assert {constant.lr_at(step, 0.3) for step in range(5, 100)} == {0.3}
