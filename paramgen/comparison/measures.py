"""What runs amount to: the best rate of a start, its curve over seeds, and how soon it gets where another ends."""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import mean, stdev
from typing import Any, Final

from paramgen.comparison.protocol import Protocol
from paramgen.comparison.tasks import Metric

Record = Mapping[str, Any]

LEARNED: Final = ("hypernet", "diffusion", "auto")
"""Kinds of starts that come out of a trained model; every other is simple."""

# Two-sided 95 % quantiles of Student's t, by degrees of freedom.
_FEW: Final = {2: 4.303, 4: 2.776, 6: 2.447, 8: 2.306, 10: 2.228, 12: 2.179, 14: 2.145, 16: 2.120, 18: 2.101}
_QUANTILES: Final = {**_FEW, 20: 2.086, 30: 2.042, 60: 2.000}


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


def best_rate(
    by_rate: Mapping[float, Sequence[Record]], points: Sequence[int], task: Mapping[str, Any]
) -> float | None:
    """Return the rate that ends best on average; among equals, the one with the better curve, then the smaller."""
    direction = sign(task["metric"])

    def rank(rate: float) -> tuple[float, float, float]:
        curves = [curve_of(record, points, task) for record in by_rate[rate]]
        ends = mean(direction * curve[-1] for curve in curves)
        return ends, mean(direction * area(curve, points) for curve in curves), -rate

    tried = [rate for rate in by_rate if by_rate[rate]]
    return max(tried, key=rank) if tried else None


def rates_of(
    runs: Mapping[tuple[float, int], Record], protocol: Protocol, *, seeds: Sequence[int]
) -> dict[float, list[Record]]:
    """Return the runs of each rate that did not fail, for the seeds on which rates are compared."""
    return {
        rate: [record for seed in seeds if (record := runs.get((rate, seed))) and record["status"] != "failed"]
        for rate in protocol.rates
    }


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
    points = protocol.points
    by_rate = rates_of(runs, protocol, seeds=grid_seeds(protocol))
    rate = best_rate(by_rate, points, task)
    failed = sorted({str(record["reason"]) for record in runs.values() if record["status"] == "failed"})
    found: dict[str, Any] = {
        "init": init,
        "simple": init.partition(":")[0].partition("?")[0] not in LEARNED,
        "rate": rate,
        "rate_at_edge": None,
        "rates": {
            f"{each:g}": spread([curve_of(record, points, task)[-1] for record in records]) if records else None
            for each, records in by_rate.items()
        },
        "failed": sum(record["status"] == "failed" for record in runs.values()),
        "reasons": failed,
        "diverged": sum(record["status"] == "diverged" for record in runs.values()),
    }
    if rate is None:
        return found
    if len(protocol.rates) > 1 and rate in (min(protocol.rates), max(protocol.rates)):
        found["rate_at_edge"] = "smallest" if rate == min(protocol.rates) else "largest"
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


def noise(one: Mapping[str, Any], other: Mapping[str, Any], *, tested: int) -> float | None:
    """Return how far apart two means may be by chance between seeds (Welch's t-test at 95 %, equal numbers of seeds).

    None where a single seed leaves chance unknown. Never less than one answer of `tested`.
    """
    counts = [len(one["values"]), len(other["values"])]
    if min(counts) < 2:
        return None
    error = sqrt(sum(each["std"] ** 2 / count for each, count in zip((one, other), counts, strict=True)))
    return max(quantile(2 * (min(counts) - 1)) * error, 1 / tested)


def quantile(degrees: int) -> float:
    """Return the two-sided 95 % quantile of Student's t at `degrees` of freedom, two or more, or a little more."""
    return _QUANTILES[max(known for known in _QUANTILES if known <= degrees)]
