"""What a comparison says, in sentences for somebody who only wants to know which start to take."""

from collections.abc import Mapping, Sequence
from math import exp
from typing import Any

from paramgen.comparison.measures import by_seed, difference, reached, sign
from paramgen.comparison.tasks import Metric

NAMES: Mapping[str, str] = {"library": "the library's own start"}

Start = Mapping[str, Any]


def called(init: str) -> str:
    """Return what a start is called in a sentence."""
    return NAMES.get(init, f'the start "{init}"')


def shown(value: float, metric: Metric) -> str:
    """Return an accuracy in percent, or a loss as perplexity."""
    if metric == "accuracy":
        return f"{100 * value:.1f} %"
    perplexity = exp(min(value, 700.0))
    return f"perplexity {perplexity:.2f}" if perplexity < 100 else f"perplexity {perplexity:,.0f}"


def ranked(starts: Sequence[Start], metric: Metric) -> list[Start]:
    """Return the starts that have a result, the best first."""
    return sorted(
        (each for each in starts if each["rate"] is not None), key=lambda e: -sign(metric) * e["final"]["mean"]
    )


def conclude(starts: Sequence[Start], task: Mapping[str, Any], *, steps: int, seeds: int) -> dict[str, Any]:
    """Return the best start, those level with it, and the sentences that say so."""
    metric: Metric = task["metric"]
    order = ranked(starts, metric)
    if not order:
        return {"best": None, "level": [], "sentences": ["No start could be trained here: every run failed."]}
    level = [order[0]["init"]]
    level += [each["init"] for each in order[1:] if not _apart(order[0], each, task)]
    if all(each["at_chance"] == len(each["seeds"]) for each in order):
        sentences = [f"After {_steps(steps)}, no start is better than guessing ({_guess(task)}). Train for more steps."]
    elif len(order) == 1:
        sentences = [f"{_upper(order[0])} reached {_final(order[0], metric)} after {_steps(steps)}; {_nothing_else()}"]
    elif seeds < 2:
        sentences = [*_first(order, metric, steps), _one_seed()]
    elif len(level) == len(order):
        sentences = [_all_level(order, metric, steps, seeds)]
    elif len(level) > 1:
        sentences = [_some_level(order, level, metric, steps=steps, seeds=seeds)]
    else:
        sentences = [*_first(order, metric, steps), _ahead(order[0], order[1], task, seeds)]
    return {
        "best": order[0]["init"] if len(level) == 1 and len(order) > 1 and seeds > 1 else None,
        "level": level,
        "sentences": sentences + _cautions(starts, steps),
    }


def _apart(best: Start, other: Start, task: Mapping[str, Any]) -> bool:
    """Whether the difference is larger than chance between seeds explains."""
    found = difference(by_seed(best), by_seed(other), tested=task["test"])
    return found is not None and bool(found["apart"])


def _ahead(best: Start, following: Start, task: Mapping[str, Any], seeds: int) -> str:
    """Say how far the best is ahead of the next, and between what bounds that lies."""
    found = difference(by_seed(best), by_seed(following), tested=task["test"])
    assert found is not None  # they are apart
    gap, interval = shown_difference(found, task["metric"])
    return f"It is ahead of the next by {gap} (95 % interval {interval}, Welch's t-test over {seeds} seeds)."


def shown_difference(found: Mapping[str, Any], metric: Metric, *, pair: bool = False) -> tuple[str, str]:
    """Return a difference and its interval: in points of accuracy, or in percent of the other's perplexity.

    Args:
        found: What `difference` returned.
        metric: What was measured.
        pair: Whether the interval is that of the differences seed by seed.

    """
    low, high = found["paired" if pair else "interval"]
    if metric == "accuracy":
        return f"{100 * found['mean']:.1f} points", f"{100 * low:+.1f} to {100 * high:+.1f}"
    gap, low, high = (100 * (exp(max(-700.0, min(value, 700.0))) - 1) for value in (found["mean"], low, high))
    return f"{abs(gap):.1f} % of its perplexity", f"{low:+.1f} to {high:+.1f} %"


def _first(order: Sequence[Start], metric: Metric, steps: int) -> list[str]:
    """Say how far the best and the next came, and the library's own start where it is another."""
    best, following = order[0], order[1]
    what = f"{_final(best, metric)} accuracy" if metric == "accuracy" else _final(best, metric)
    rest = [following] + [each for each in order[2:] if each["init"] == "library"]
    others = "; ".join(f"{called(each['init'])} {_final(each, metric)}" for each in rest)
    sentences = [f"On your data, {called(best['init'])} reached {what} after {_steps(steps)}; {others}."]
    target = following["final"]["mean"]
    step = reached(best["curve"]["mean"], best["steps"], target, metric)
    if step is not None and step < steps:
        when = (
            f"was at {shown(target, metric)} before the first step"
            if step == 0
            else (f"got to {shown(target, metric)} after {step} of {_steps(steps)}")
        )
        sentences.append(f"It {when}.")
    return sentences


def _all_level(order: Sequence[Start], metric: Metric, steps: int, seeds: int) -> str:
    worst, best = _final(order[-1], metric), _final(order[0], metric)
    same = f"No start is better than another here: after {_steps(steps)} all {len(order)} are"
    if worst == best:
        return f"{same} at {best}."
    differences = f"these differences are no larger than the spread over {seeds} seeds."
    return f"{same} between {worst} and {best.removeprefix('perplexity ')}, and {differences}"


def _some_level(order: Sequence[Start], level: Sequence[str], metric: Metric, *, steps: int, seeds: int) -> str:
    best = [each for each in order if each["init"] in level]
    listed = [f"{called(each['init'])} ({_final(each, metric)})" for each in best]
    rest = next(each for each in order if each["init"] not in level)
    return (
        f"After {_steps(steps)}, {', '.join(listed[:-1])} and {listed[-1]} are level: their difference is no larger "
        f"than the spread over {seeds} seeds. The next, {called(rest['init'])}, reached {_final(rest, metric)}."
    )


def _cautions(starts: Sequence[Start], steps: int) -> list[str]:
    """Name what makes the result weaker: runs that broke, and rates at the edge of what was tried."""
    found = []
    for each in starts:
        name = _upper(each)
        if each["failed"]:
            found.append(f"{name}: {_runs(each['failed'])} failed ({each['reasons'][0]}).")
        if each["diverged"]:
            found.append(f"{name}: {_runs(each['diverged'])} diverged.")
        if each.get("at_chance"):
            found.append(f"{name}: {_runs(each['at_chance'])} ended no better than guessing after {_steps(steps)}.")
    return found + _edges([each for each in starts if each["rate"] is not None])


def _edges(starts: Sequence[Start]) -> list[str]:
    """Say whose best rate is the smallest or largest tried, and what to type to see beyond it."""
    found = []
    for edge, word, factor in (("smallest", "smaller", 1 / 3), ("largest", "larger", 3.0)):
        there = [each for each in starts if each["rate_at_edge"] == edge and each["final"]["mean"] != 1]
        if there:
            names = " and ".join(called(each["init"]) for each in there)
            who = "Every start" if len(there) == len(starts) > 1 else names[0].upper() + names[1:]
            rate = there[0]["rate"]
            found.append(
                f"{who} did best at the {edge} learning rate that was tried ({rate:g}), even beyond the grid, so a "
                f"{word} one may do better: add {rate * factor:.0e} to --rates, with another --out."
            )
    return found


def _guess(task: Mapping[str, Any]) -> str:
    return shown(task["chance"], task["metric"])


def _final(start: Start, metric: Metric) -> str:
    return shown(start["final"]["mean"], metric)


def _upper(start: Start) -> str:
    name = called(start["init"])
    return name[0].upper() + name[1:]


def _steps(count: int) -> str:
    return f"{count:,} step" + ("" if count == 1 else "s")


def _runs(count: int) -> str:
    return f"{count} run" + ("" if count == 1 else "s")


def _nothing_else() -> str:
    return "there is no other start to compare it with. Type another --init"


def _one_seed() -> str:
    return "With one seed nobody knows whether that is more than chance. Type: --seeds 3"
