"""Statistics of curves whose figures are known."""

from typing import Any

import pytest

from paramgen.comparison.results import Curve, Spread
from paramgen.comparison.statistics import area, reached

POINTS = (0, 50, 100)


def test_steps_to_a_value_are_read_off_the_lines_between_points() -> None:
    assert reached([0.1, 0.3, 0.5], POINTS, 0.4, "accuracy") == 75
    assert reached([0.1, 0.3, 0.5], POINTS, 0.1, "accuracy") == 0
    assert reached([0.1, 0.3, 0.5], POINTS, 0.6, "accuracy") is None
    assert reached([5.0, 3.0, 1.0], POINTS, 2.0, "perplexity") == 75


def test_the_area_is_a_mean_height() -> None:
    assert area([0.0, 0.5, 0.5], POINTS) == pytest.approx(0.375)


def test_a_curve_has_mean_and_std_over_seeds_at_each_point() -> None:
    found = Curve.of([[0.1, 0.2], [0.3, 0.2]])
    std: tuple[Any, ...] = (pytest.approx(0.141421, abs=1e-6), 0.0)
    assert found.mean == (0.2, 0.2) and found.std == std
    assert found.at(0) == Spread.of([0.1, 0.3]) and found.at(-1).values == (0.2, 0.2)
    assert Curve.from_json(found.to_json()) == found
