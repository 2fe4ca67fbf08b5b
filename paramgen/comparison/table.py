"""The figures of one architecture as rows of text, for a terminal, a notebook, Markdown and the page."""

from collections.abc import Sequence
from math import exp
from typing import Final

from paramgen.comparison.conclusion import ranked, shown, shown_difference
from paramgen.comparison.results import Against, ArchitectureResult, AtBestLr, InitializationResult, Metric

FIRST_COLUMN: Final = "initializer"
_COLUMNS: Final = 4  # of accuracy after some steps, between the first and the last


def header(architecture: ArchitectureResult) -> list[str]:
    """Return the names of the columns."""
    steps = _steps(architecture)
    accuracy = architecture.task.metric == "accuracy"
    points = [f"{'accuracy, %' if accuracy else 'perplexity'}, step {steps[0]}", *(f"step {s}" for s in steps[1:])]
    average = "average" if accuracy else "average loss"
    return [
        FIRST_COLUMN,
        "best lr",
        *points,
        *_against(architecture),
        average,
        _goal(architecture),
        *_of_texts(architecture),
        *(["numbers trained", "kB"] if _constrained(architecture) else []),
        "s/run",
        "lost runs",
    ]


def rows(architecture: ArchitectureResult) -> list[list[str]]:
    """Return one row for each initialization, the best first; the last value has its standard deviation over seeds."""
    metric, steps = architecture.task.metric, _steps(architecture)
    order = ranked(architecture.initializations, metric)
    found = [_row(architecture, each, each.best, steps) for each in order if each.best is not None]
    empty = [""] * (len(header(architecture)) - 3)
    failed = [each for each in architecture.initializations if each.best is None]
    return found + [[each.init, "-", *empty, f"{each.failed} failed"] for each in failed]


def _row(
    architecture: ArchitectureResult, result: InitializationResult, best: AtBestLr, steps: Sequence[int]
) -> list[str]:
    metric = architecture.task.metric
    means = dict(zip(best.steps, best.curve.mean, strict=True))
    figures = [_figure(means[step], metric) for step in steps[:-1]]
    last = _figure(best.final.mean, metric) + (f" ± {_std(best, metric)}" if len(best.seeds) > 1 else "")
    goal = result.steps_to_best_simple
    step = None if goal is None else goal.mean_curve
    lost = {"failed": result.failed, "diverged": result.diverged, "at chance": best.at_chance}
    return [
        result.init,
        f"{best.lr:g}" + (" (edge)" if best.lr_at_edge else ""),
        *figures,
        last,
        *([_interval(result.against, metric)] if _against(architecture) else []),
        f"{100 * best.area.mean:.1f}" if metric == "accuracy" else f"{best.area.mean:.3f}",
        "not reached" if step is None else f"{step}",
        *_text_figures(architecture, best),
        *_sizes(architecture, best),
        f"{best.seconds.mean:.1f}",
        ", ".join(f"{count} {what}" for what, count in lost.items() if count) or "none",
    ]


def _against(architecture: ArchitectureResult) -> list[str]:
    """Name what the column of differences is against; there is none where one seed leaves chance unknown."""
    others = [each.against.init for each in architecture.initializations if each.against is not None]
    unit = "points" if architecture.task.metric == "accuracy" else "perplexity, %"
    return [f"against {others[0]}, {unit}, 95 %"] if others else []


def _interval(against: Against | None, metric: Metric) -> str:
    """Return Welch's interval, and in brackets that of the differences seed by seed."""
    if against is None:
        return ""
    _, welch = shown_difference(against.difference, metric)
    if against.difference.paired is None:
        return welch
    return f"{welch} ({shown_difference(against.difference, metric, paired=True)[1]})"


def _of_texts(architecture: ArchitectureResult) -> list[str]:
    """Name the columns that only texts have: tokens of another tokenizer can be compared by the byte alone."""
    task = architecture.task
    if task.length is None or not architecture.per_step:
        return []
    return [*(["perplexity per byte"] if task.bytes_per_token else []), f"{task.unit}s/s"]


def _text_figures(architecture: ArchitectureResult, best: AtBestLr) -> list[str]:
    if not _of_texts(architecture):
        return []
    size = architecture.task.bytes_per_token
    read = (architecture.per_step or 0) * best.steps[-1] / max(best.seconds.mean, 1e-9)
    return [*([f"{exp(min(best.final.mean / size, 700.0)):.3f}"] if size else []), f"{read:,.0f}"]


def _constrained(architecture: ArchitectureResult) -> bool:
    """Whether an initialization trains fewer numbers than there are parameters, as with `--then prune`."""
    return any(each.best is not None and each.best.numbers is not None for each in architecture.initializations)


def _sizes(architecture: ArchitectureResult, best: AtBestLr) -> list[str]:
    """Return how many numbers are trained, and the bytes that they take in float32."""
    if not _constrained(architecture):
        return []
    numbers = architecture.parameters if best.numbers is None else best.numbers
    nbytes = 4 * architecture.parameters if best.nbytes is None else best.nbytes
    return [f"{numbers:,}", f"{nbytes / 1000:,.1f}"]


def _goal(architecture: ArchitectureResult) -> str:
    """Name the value to which steps are counted: where the best simple initialization ends."""
    simple = architecture.named(architecture.best_simple)
    if simple is None or simple.best is None:
        return "steps to -"
    return f"steps to {shown(simple.best.final.mean, architecture.task.metric)} ({simple.init})"


def _steps(architecture: ArchitectureResult) -> list[int]:
    """Return step 0, some in between, and the last."""
    points = next((each.best.steps for each in architecture.initializations if each.best is not None), (0,))
    gaps = min(_COLUMNS, len(points) - 1)
    return sorted({points[round(index * (len(points) - 1) / max(1, gaps))] for index in range(gaps + 1)})


def _figure(value: float, metric: Metric) -> str:
    if metric == "accuracy":
        return f"{100 * value:.1f}"
    perplexity = exp(min(value, 700.0))
    return (
        f"{perplexity:.2f}" if perplexity < 100 else f"{perplexity:,.0f}" if perplexity < 1e6 else f"{perplexity:.1e}"
    )


def _std(best: AtBestLr, metric: Metric) -> str:
    """Return the standard deviation; of a perplexity, what that of its logarithm makes of it."""
    if metric == "accuracy":
        return f"{100 * best.final.std:.1f}"
    return f"{exp(min(best.final.mean, 700.0)) * best.final.std:.2f}"
