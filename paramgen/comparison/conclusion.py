"""What a comparison says, in sentences for somebody who only wants to know which initializer to take."""

from collections.abc import Mapping, Sequence
from math import exp

from paramgen.comparison.results import (
    AtBestLr,
    Conclusion,
    Difference,
    InitializationResult,
    Metric,
    TaskSummary,
)
from paramgen.comparison.statistics import difference, reached, sign

INIT_NAMES: Mapping[str, str] = {"library": "the default initialization"}

Ranked = tuple[str, AtBestLr]
"""An initializer's name, and what came of it."""


def called(init: str) -> str:
    """Return what an initializer is called in a sentence."""
    return INIT_NAMES.get(init, f'the initializer "{init}"')


def shown(value: float, metric: Metric) -> str:
    """Return an accuracy in percent, or a loss as perplexity."""
    if metric == "accuracy":
        return f"{100 * value:.1f} %"
    perplexity = exp(min(value, 700.0))
    return f"perplexity {perplexity:.2f}" if perplexity < 100 else f"perplexity {perplexity:,.0f}"


def ranked(results: Sequence[InitializationResult], metric: Metric) -> list[InitializationResult]:
    """Return the initializations that have a result, the best first."""
    ended = [(each, each.best.final.mean) for each in results if each.best is not None]
    return [each for each, _ in sorted(ended, key=lambda pair: -sign(metric) * pair[1])]


def conclude(results: Sequence[InitializationResult], task: TaskSummary, *, steps: int, seeds: int) -> Conclusion:
    """Return the best initialization, those statistically tied with it, and the sentences that say so."""
    order = [(each.init, each.best) for each in ranked(results, task.metric) if each.best is not None]
    if not order:
        return Conclusion(best=None, tied=(), sentences=("No initializer could be tried here: every run failed.",))
    first = order[0]
    tied = [first[0], *(each[0] for each in order[1:] if not _significant(first, each, task))]
    sentences = _sentences(order, tied, task, steps=steps, seeds=seeds) + _cautions(results, steps)
    alone = len(tied) == 1 and len(order) > 1 and seeds > 1
    return Conclusion(best=first[0] if alone else None, tied=tuple(tied), sentences=tuple(sentences))


def _sentences(order: Sequence[Ranked], tied: Sequence[str], task: TaskSummary, *, steps: int, seeds: int) -> list[str]:
    if all(each.at_chance == len(each.seeds) for _, each in order):
        guess = shown(task.chance, task.metric)
        return [f"After {_steps(steps)}, no initializer is better than guessing ({guess}). Train for more steps."]
    if len(order) == 1:
        return [
            f"{_upper(order[0][0])} reached {_final(order[0], task)} after {_steps(steps)}; there is no other "
            "initializer to compare it with. Type another --init"
        ]
    if seeds < 2:
        one_seed = "With one seed nobody knows whether that is more than chance. Type: --seeds 3"
        return [*_first(order, task, steps), one_seed]
    if len(tied) == len(order):
        return [_all_tied(order, task, steps, seeds)]
    if len(tied) > 1:
        return [_some_tied(order, tied, task, steps=steps, seeds=seeds)]
    return [*_first(order, task, steps), _ahead(order[0], order[1], task, seeds)]


def _difference(one: Ranked, other: Ranked, task: TaskSummary) -> Difference | None:
    return difference(one[1].by_seed, other[1].by_seed, tested=task.test)


def _significant(best: Ranked, other: Ranked, task: TaskSummary) -> bool:
    """Whether the difference is larger than chance between seeds explains."""
    found = _difference(best, other, task)
    return found is not None and found.significant


def _ahead(best: Ranked, following: Ranked, task: TaskSummary, seeds: int) -> str:
    """Say how far the best is ahead of the next, and between what bounds that lies."""
    found = _difference(best, following, task)
    assert found is not None  # they differ significantly
    gap, interval = shown_difference(found, task.metric)
    return f"It is ahead of the next by {gap} (95 % interval {interval}, Welch's t-test over {seeds} seeds)."


def shown_difference(found: Difference, metric: Metric, *, paired: bool = False) -> tuple[str, str]:
    """Return a difference and its interval: in points of accuracy, or in percent of the other's perplexity.

    Args:
        found: The difference.
        metric: What was measured.
        paired: Whether the interval is that of the differences seed by seed, which must be known.

    """
    interval = found.paired if paired else found.interval
    assert interval is not None
    low, high = interval
    if metric == "accuracy":
        return f"{100 * found.mean:.1f} points", f"{100 * low:+.1f} to {100 * high:+.1f}"
    gap, low, high = (100 * (exp(max(-700.0, min(value, 700.0))) - 1) for value in (found.mean, low, high))
    return f"{abs(gap):.1f} % of its perplexity", f"{low:+.1f} to {high:+.1f} %"


def _first(order: Sequence[Ranked], task: TaskSummary, steps: int) -> list[str]:
    """Say how far the best and the next came, and the default initialization where it is another."""
    best, following = order[0], order[1]
    what = f"{_final(best, task)} accuracy" if task.metric == "accuracy" else _final(best, task)
    rest = [following] + [each for each in order[2:] if each[0] == "library"]
    others = "; ".join(f"{called(each[0])} {_final(each, task)}" for each in rest)
    sentences = [f"On your data, {called(best[0])} reached {what} after {_steps(steps)}; {others}."]
    step = reached(best[1].curve.mean, best[1].steps, following[1].final.mean, task.metric)
    target = _final(following, task)
    if step == 0:
        sentences.append(f"It was at {target} before the first step.")
    elif step is not None and step < steps:
        sentences.append(f"It got to {target} after {step} of {_steps(steps)}.")
    return sentences


def _all_tied(order: Sequence[Ranked], task: TaskSummary, steps: int, seeds: int) -> str:
    worst, best = _final(order[-1], task), _final(order[0], task)
    same = f"No initializer is better than another here: after {_steps(steps)} all {len(order)} are"
    if worst == best:
        return f"{same} at {best}."
    return (
        f"{same} between {worst} and {best.removeprefix('perplexity ')}, and over {seeds} seeds these differences are "
        "not statistically significant."
    )


def _some_tied(order: Sequence[Ranked], tied: Sequence[str], task: TaskSummary, *, steps: int, seeds: int) -> str:
    listed = [f"{called(each[0])} ({_final(each, task)})" for each in order if each[0] in tied]
    rest = next(each for each in order if each[0] not in tied)
    return (
        f"After {_steps(steps)}, {', '.join(listed[:-1])} and {listed[-1]} are statistically tied over {seeds} seeds. "
        f"The next, {called(rest[0])}, reached {_final(rest, task)}."
    )


def _cautions(results: Sequence[InitializationResult], steps: int) -> list[str]:
    """Name what makes the result weaker: runs that broke, and learning rates at the edge of what was tried."""
    found = []
    for each in results:
        name = _upper(each.init)
        if each.failed:
            found.append(f"{name}: {_runs(each.failed)} failed ({each.reasons[0]}).")
        if each.diverged:
            found.append(f"{name}: {_runs(each.diverged)} diverged.")
        if each.best is not None and each.best.at_chance:
            ended = f"{_runs(each.best.at_chance)} ended no better than guessing"
            found.append(f"{name}: {ended} after {_steps(steps)}.")
    return found + _edges([(each.init, each.best) for each in results if each.best is not None])


def _edges(results: Sequence[Ranked]) -> list[str]:
    """Say whose best learning rate is the smallest or largest tried, and what to type to see beyond it."""
    found = []
    for edge, word, factor in (("smallest", "smaller", 1 / 3), ("largest", "larger", 3.0)):
        there = [each for each in results if each[1].lr_at_edge == edge and each[1].final.mean != 1]
        if there:
            names = " and ".join(called(each[0]) for each in there)
            who = "Every initializer" if len(there) == len(results) > 1 else names[0].upper() + names[1:]
            lr = there[0][1].lr
            found.append(
                f"{who} did best at the {edge} learning rate that was tried ({lr:g}), even beyond the grid, so a "
                f"{word} one may do better: add {lr * factor:.0e} to --lr, with another --out."
            )
    return found


def _final(result: Ranked, task: TaskSummary) -> str:
    return shown(result[1].final.mean, task.metric)


def _upper(init: str) -> str:
    name = called(init)
    return name[0].upper() + name[1:]


def _steps(count: int) -> str:
    return f"{count:,} step" + ("" if count == 1 else "s")


def _runs(count: int) -> str:
    return f"{count} run" + ("" if count == 1 else "s")
