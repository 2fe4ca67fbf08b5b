"""Statistics of curves whose figures are known."""

import importlib
from types import ModuleType
from typing import Any

import pytest

from paramgen.comparison.results import Curve, Spread
from paramgen.comparison.statistics import area, difference, reached, sign
from paramgen.errors import MissingPackageError

POINTS = (0, 50, 100)


def test_steps_to_a_value_are_read_off_the_lines_between_points() -> None:
    assert reached([0.1, 0.3, 0.5], POINTS, 0.4, "accuracy") == 75
    assert reached([0.1, 0.3, 0.5], POINTS, 0.1, "accuracy") == 0
    assert reached([0.1, 0.3, 0.5], POINTS, 0.5, "accuracy") == 100
    assert reached([0.4, 0.3, 0.5], POINTS, 0.4, "accuracy") == 0
    assert reached([0.1, 0.3, 0.5], POINTS, 0.6, "accuracy") is None
    assert reached([5.0, 3.0, 1.0], POINTS, 2.0, "perplexity") == 75


def test_more_accuracy_and_less_perplexity_are_better() -> None:
    assert (sign("accuracy"), sign("perplexity")) == (1, -1)


def test_the_area_is_a_mean_height() -> None:
    assert area([0.0, 0.5, 0.5], POINTS) == pytest.approx(0.375)
    assert area([0.2, 0.4], (50, 150)) == pytest.approx(0.3)


def test_a_curve_has_mean_and_std_over_seeds_at_each_point() -> None:
    found = Curve.of([[0.1, 0.2], [0.3, 0.2]])
    std: tuple[Any, ...] = (pytest.approx(0.141421, abs=1e-6), 0.0)
    assert found.mean == (0.2, 0.2) and found.std == std
    assert found.at(0) == Spread.of([0.1, 0.3]) and found.at(-1).values == (0.2, 0.2)
    assert Curve.from_json(found.to_json()) == found


def test_equal_values_have_an_interval_without_width() -> None:
    found = difference({0: 0.5, 1: 0.5}, {0: 0.4, 1: 0.4}, tested=100)
    assert found is not None and found.interval == found.paired == (0.1, 0.1) and found.significant


def test_two_seeds_with_a_spread_have_welchs_interval() -> None:
    found = difference({0: 0.1, 1: 0.3}, {0: 0.2, 1: 0.6}, tested=100)
    # By hand: variances 0.02 and 0.08, 1.4706 degrees of freedom, for which Student's quantile is 6.18811.
    assert found is not None
    assert found.interval == pytest.approx((-0.2 - 1.383705, -0.2 + 1.383705), abs=1e-5)
    assert not found.significant


@pytest.mark.parametrize("turned", [False, True])
def test_one_spread_is_enough_for_an_interval(turned: bool) -> None:
    spread, equal = {0: 0.1, 1: 0.2, 2: 0.3}, {0: 0.9, 1: 0.9, 2: 0.9}
    found = difference(equal, spread, tested=100) if turned else difference(spread, equal, tested=100)
    # By hand: the spread's variance 0.01 alone, two degrees of freedom, for which Student's quantile is 4.3027.
    gap, width = (0.7 if turned else -0.7), 4.3027 * (0.01 / 3) ** 0.5
    assert found is not None
    assert found.mean == pytest.approx(gap) and found.interval == pytest.approx((gap - width, gap + width), abs=1e-4)


@pytest.mark.parametrize(("answers", "significant"), [(0.5, False), (1, True), (1.5, True)])
def test_a_significant_difference_is_one_answer_at_least(answers: float, significant: bool) -> None:
    found = difference({0: 0.5, 1: 0.5}, {0: 0.5 + answers / 64, 1: 0.5 + answers / 64}, tested=64)
    assert found is not None and found.significant == significant


def test_intervals_have_six_digits() -> None:
    found = difference({0: 1 / 7, 1: 1 / 3, 2: 0.4}, {0: 1 / 9, 1: 1 / 7, 2: 0.2}, tested=100)
    assert found is not None and found.paired is not None
    digits = [found.mean, *found.interval, *found.paired]
    assert digits == [round(each, 6) for each in digits] and digits != [round(each, 5) for each in digits]


def test_pairs_need_two_seeds_in_common() -> None:
    found = difference({0: 0.1, 1: 0.3}, {1: 0.1, 2: 0.2}, tested=100)
    assert found is not None and found.paired is None
    assert difference({0: 0.1, 1: 0.3}, {1: 0.2}, tested=100) is None
    assert difference({1: 0.2}, {0: 0.1, 1: 0.3}, tested=100) is None


def test_without_scipy_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {module!r}", name="scipy")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingPackageError, match=r"pip install '\.\[compare\]'"):
        difference({0: 0.1, 1: 0.3}, {0: 0.1, 1: 0.2}, tested=100)
