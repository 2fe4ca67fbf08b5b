"""What runs amount to: the best rate of a start, its curve over seeds, and how soon it gets where another ends."""

import warnings
from collections.abc import Mapping, Sequence
from math import inf, sqrt
from statistics import mean, stdev
from typing import Any, Final

from paramgen._optional import require
from paramgen.comparison.protocol import Protocol
from paramgen.comparison.tasks import Metric

Record = Mapping[str, Any]

CONFIDENCE: Final = 0.95
LEARNED: Final = ("hypernet", "diffusion", "auto")
"""Kinds of starts that come out of a trained model; every other is simple."""


def measured_key(metric: Metric) -> str:
    """Return what of a record is compared: accuracy, or the loss whose exponential is the perplexity."""
    return "accuracy" if metric == "accuracy" else "loss"


def sign(metric: Metric) -> int:
    """1 where more is better, -1 where less is."""
    return 1 if metric == "accuracy" else -1


def curve_of(record: Record, points: Sequence[int], task: Mapping[str, Any]) -> list[float]:
    """Return a run's values at all points; where it was not finite, those of guessing (a text: evenly)."""
    guess = task["chance"] if task["metric"] == "accuracy" else task["uniform"]
    known = dict(zip(record["steps"], record[measured_key(task["metric"])], strict=True))
    return [guess if known.get(point) is None else known[point] for point in points]


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


def best_rate(by_rate: Mapping[float, Sequence[Record]], metric: Metric) -> float | None:
    """Return the learning rate that ends best on the validation data, on average; the test data have no say.

    Among equals it is the one with the smaller validation loss, then the smaller rate. A run that diverged is last.
    """

    def rank(rate: float) -> tuple[float, float, float]:
        ends = [record["validation"] for record in by_rate[rate]]
        if not all(ends):
            return -inf, -inf, -rate
        value = mean(sign(metric) * end[measured_key(metric)] for end in ends)
        return value, -mean(end["loss"] for end in ends), -rate

    tried = [rate for rate in by_rate if by_rate[rate]]
    return max(tried, key=rank) if tried else None


def rates_of(
    runs: Mapping[tuple[float, int], Record], protocol: Protocol, *, seeds: Sequence[int]
) -> dict[float, list[Record]]:
    """Return the runs of each rate tried that did not fail, for the seeds on which rates are compared."""
    return {
        rate: [record for seed in seeds if (record := runs.get((rate, seed))) and record["status"] != "failed"]
        for rate in sorted({*protocol.rates, *(rate for rate, _ in runs)})
    }


def validated(records: Sequence[Record], task: Mapping[str, Any]) -> list[float]:
    """Return what runs reached on the validation data; where they diverged, what guessing does (a text: evenly)."""
    metric: Metric = task["metric"]
    guess = task["chance"] if metric == "accuracy" else task["uniform"]
    return [guess if not (end := record["validation"]) else end[measured_key(metric)] for record in records]


def grid_seeds(protocol: Protocol) -> tuple[int, ...]:
    """Return the seeds for which every rate is tried."""
    return tuple(range(protocol.seeds if protocol.full_grid else 1))


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, sample standard deviation (0 for one value) and the values."""
    return {
        "mean": round(mean(values), 6),
        "std": round(stdev(values), 6) if len(values) > 1 else 0.0,
        "values": [round(value, 6) for value in values],
    }


def start_of(
    init: str, runs: Mapping[tuple[float, int], Record], protocol: Protocol, task: Mapping[str, Any]
) -> dict[str, Any]:
    """Return all figures of one start, from its runs by (rate, seed)."""
    by_rate = rates_of(runs, protocol, seeds=grid_seeds(protocol))
    rate = best_rate(by_rate, task["metric"])
    failed = sorted({str(record["reason"]) for record in runs.values() if record["status"] == "failed"})
    found: dict[str, Any] = {
        "init": init,
        "simple": init.partition(":")[0].partition("?")[0] not in LEARNED,
        "rate": rate,
        "rate_at_edge": None,
        "rates": {
            f"{each:g}": spread(validated(records, task)) if records else None for each, records in by_rate.items()
        },
        "failed": sum(record["status"] == "failed" for record in runs.values()),
        "reasons": failed,
        "diverged": sum(record["status"] == "diverged" for record in runs.values()),
    }
    if rate is None:
        return found
    tried = sorted(each for each, records in by_rate.items() if records)
    if len(tried) > 1 and rate in (tried[0], tried[-1]):
        found["rate_at_edge"] = "smallest" if rate == tried[0] else "largest"
    return found | _at_rate(rate, runs, protocol, task)


def _at_rate(
    rate: float, runs: Mapping[tuple[float, int], Record], protocol: Protocol, task: Mapping[str, Any]
) -> dict[str, Any]:
    points, metric = protocol.points, task["metric"]
    own = {seed: runs[rate, seed] for seed in range(protocol.seeds) if (rate, seed) in runs}
    own = {seed: record for seed, record in own.items() if record["status"] != "failed"}
    curves = [curve_of(record, points, task) for record in own.values()]
    by_point = [spread(values) for values in zip(*curves, strict=True)]
    at_chance = sum(sign(metric) * curve[-1] <= sign(metric) * task["at_chance_up_to"] for curve in curves)
    return {
        "seeds": list(own),
        "diverged_at_rate": sum(record["status"] == "diverged" for record in own.values()),
        "at_chance": at_chance,
        "steps": list(points),
        "curve": {key: [each[key] for each in by_point] for key in ("mean", "std", "values")},
        "zero_shot": by_point[0],
        "final": by_point[-1],
        "area": spread([area(curve, points) for curve in curves]),
        "seconds": spread([record["seconds"] for record in own.values()]),
        "start_seconds": spread([record["start_seconds"] for record in own.values()]),
    }


def difference(one: Mapping[int, float], other: Mapping[int, float], *, tested: int) -> dict[str, Any] | None:
    """Return how far the mean of `one` is above that of `other`, with 95 % intervals, and whether that is chance.

    `interval` is Welch's, with the degrees of freedom of Welch and Satterthwaite; `paired` takes the differences seed
    by seed, as the same seed gives both the same data in the same order. They are `apart` where Welch's interval leaves
    zero out, and by one answer of `tested` at least. None where a single seed leaves chance unknown.

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
    return {
        "mean": round(gap, 6),
        "interval": [round(low, 6), round(high, 6)],
        "paired": [round(value, 6) for value in _paired(pairs)] if len(pairs) > 1 else None,
        "apart": not low <= 0 <= high and abs(gap) > 1 / tested,
    }


def by_seed(start: Mapping[str, Any]) -> dict[int, float]:
    """Return where each seed of a start ended."""
    return dict(zip(start["seeds"], start["final"]["values"], strict=True))


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
