"""Statistics of curves and seeds: the area under a curve, steps to a value, and whether a difference is significant."""

import warnings
from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import mean, stdev
from typing import Any, Final

from paramgen._optional import require
from paramgen.comparison.results import Difference, Metric

CONFIDENCE: Final = 0.95


def sign(metric: Metric) -> int:
    """Return 1 where more is better, -1 where less is."""
    return 1 if metric == "accuracy" else -1


def area(curve: Sequence[float], points: Sequence[int]) -> float:
    """Return the mean height of a curve: the area under its straight lines, divided by the steps."""
    pieces = zip(points, points[1:], curve, curve[1:], strict=False)
    return sum((b - a) * (left + right) / 2 for a, b, left, right in pieces) / (points[-1] - points[0])


def reached(curve: Sequence[float], points: Sequence[int], target: float, metric: Metric) -> int | None:
    """Return after how many steps a curve is first as good as `target`, on the straight lines between its points."""
    up = [sign(metric) * value for value in curve]
    goal = sign(metric) * target
    if up[0] >= goal:
        return points[0]
    for a, b, left, right in zip(points, points[1:], up, up[1:], strict=False):
        if right >= goal:
            return a + round((b - a) * (goal - left) / (right - left))
    return None


def difference(one: Mapping[int, float], other: Mapping[int, float], *, tested: int) -> Difference | None:
    """Return how far the mean of `one` is above that of `other`, with 95 % intervals, and whether it is significant.

    `interval` is Welch's, with the degrees of freedom of Welch and Satterthwaite; `paired` takes the differences seed
    by seed, as the same seed gives both the same data in the same order. The difference is significant where Welch's
    interval leaves zero out, and by one answer of `tested` at least. None with a single seed, which has no spread.

    Args:
        one: Values by seed.
        other: Those of another.
        tested: Number of answers in the test.

    """
    if min(len(one), len(other)) < 2:
        return None
    gap = mean(one.values()) - mean(other.values())
    low, high = _welch(list(one.values()), list(other.values()))
    pairs = [one[seed] - other[seed] for seed in one if seed in other]
    return Difference(
        mean=round(gap, 6),
        interval=_rounded((low, high)),
        paired=_rounded(_paired(pairs)) if len(pairs) > 1 else None,
        significant=not low <= 0 <= high and abs(gap) >= 1 / tested,
    )


def _rounded(interval: tuple[float, float]) -> tuple[float, float]:
    return round(interval[0], 6), round(interval[1], 6)


def _welch(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    gap = mean(ours) - mean(theirs)
    if len({*ours}) == len({*theirs}) == 1:
        return gap, gap
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of one sample whose values are all equal
        found = _stats().ttest_ind(ours, theirs, equal_var=False).confidence_interval(CONFIDENCE)
    return float(found.low), float(found.high)


def _paired(differences: Sequence[float]) -> tuple[float, float]:
    error = stdev(differences) / sqrt(len(differences))
    if error == 0:
        return differences[0], differences[0]
    low, high = _stats().t.interval(CONFIDENCE, len(differences) - 1, loc=mean(differences), scale=error)
    return float(low), float(high)


def _stats() -> Any:
    return require("scipy.stats", extra="compare")
