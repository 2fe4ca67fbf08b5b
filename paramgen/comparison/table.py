"""The figures of a comparison as rows of text, and as Markdown."""

from collections.abc import Mapping, Sequence
from math import exp
from typing import Any

from paramgen.comparison.conclusion import ranked, shown, shown_difference
from paramgen.comparison.tasks import Metric

_COLUMNS = 4  # of accuracy after some steps, between the first and the last


def header(architecture: Mapping[str, Any]) -> list[str]:
    """Return the names of the columns."""
    metric, steps = architecture["task"]["metric"], _steps(architecture)
    unit = "accuracy, %" if metric == "accuracy" else "perplexity"
    points = [f"{unit}, step {steps[0]}", *(f"step {step}" for step in steps[1:])]
    middle = "average" if metric == "accuracy" else "average loss"
    return ["start", "best rate", *points, *_against(architecture), middle, _goal(architecture), "s/run", "lost runs"]


def rows(architecture: Mapping[str, Any]) -> list[list[str]]:
    """Return one row for each start, the best first; the last value has its spread over seeds."""
    metric: Metric = architecture["task"]["metric"]
    starts = architecture["starts"]
    order = ranked(starts, metric)
    steps = _steps(architecture)
    found = [_row(each, metric, steps, intervals=bool(_against(architecture))) for each in order]
    empty = [""] * len(steps)
    empty += [""] * len(_against(architecture))
    return found + [
        [each["init"], "-", *empty, "", "", "", f"{each['failed']} failed"] for each in starts if each not in order
    ]


def markdown(values: Mapping[str, Any]) -> str:
    """Return conclusion, tables and protocol as Markdown."""
    lines = ["# Which start trains best?", ""]
    lines += [f"{sentence}  " for sentence in values["conclusion"]]
    for architecture in values["architectures"]:
        lines += ["", f"## {architecture['name']} on {values['data']['name']}", ""]
        lines += _lines([header(architecture), *rows(architecture)])
        lines += [""] + [f"- {note}" for note in architecture["notes"]]
    return "\n".join([*lines, *(f"- {note}" for note in explanations(values))]) + "\n"


def explanations(values: Mapping[str, Any]) -> list[str]:
    """Say how it was measured."""
    protocol, task = values["protocol"], values["architectures"][0]["task"]
    seeds, rates = protocol["seeds"], ", ".join(f"{rate:g}" for rate in protocol["rates"])
    wider = ", and more of them beyond the edge where the best one lay there" if len(protocol["rates"]) > 1 else ""
    chosen = "all seeds" if protocol["full_grid"] else "seed 0; the other seeds were trained at the best one"
    shape = "then falls to zero along a cosine" if protocol["schedule"] == "cosine" else "then stays"
    text = task["metric"] == "perplexity"
    counted = f"{task['unit']}s" if text else "images"
    each = f"{protocol['batch']} windows of {task['length']} {counted}" if text else f"{protocol['batch']} {counted}"
    return [
        f"Every start was trained for {protocol['steps']} steps of {each} out of {task['train']:,} "
        f"and tested on {task['test']:,} others, on which nothing was chosen; the same seed gives every start the same "
        "data in the same order, without augmentation.",
        f"Optimizer: AdamW, weight decay {protocol['decay']:g}, gradients clipped at norm {protocol['clip']:g}; the "
        f"learning rate rises for {protocol['warmup']:.0%} of the steps, {shape}.",
        f"Learning rates tried for every start alike: {rates}{wider}, on {chosen}. The best is the one with the best "
        f"end on {task['validation']:,} {counted} that were kept back from the training data for that.",
        f"± is the standard deviation over {seeds} seeds. A difference counts if its 95 % interval leaves out zero "
        "(Welch's t-test, degrees of freedom after Welch and Satterthwaite); in brackets the interval of the "
        "differences seed by seed.",
        "Step 0 is the start itself, before any training; batch norms are given the statistics of a few training "
        "batches for that one test. After that they are tested as training left them.",
        *values["data"]["notes"],
    ]


def _row(start: Mapping[str, Any], metric: Metric, steps: Sequence[int], *, intervals: bool) -> list[str]:
    means = dict(zip(start["steps"], start["curve"]["mean"], strict=True))
    figures = [_figure(means[step], metric) for step in steps[:-1]]
    several = len(start["seeds"]) > 1
    last = _figure(start["final"]["mean"], metric) + (f" ± {_deviation(start, metric)}" if several else "")
    to_simple = start["steps_to_best_simple"]
    step = None if to_simple is None else to_simple["mean_curve"]
    average = start["area"]["mean"]
    lost = [f"{start[kind]} {kind}" for kind in ("failed", "diverged") if start[kind]]
    lost += [f"{start['at_chance']} at chance"] if start["at_chance"] else []
    return [
        start["init"],
        f"{start['rate']:g}" + (" (edge)" if start["rate_at_edge"] else ""),
        *figures,
        last,
        *([_interval(start["against"], metric)] if intervals else []),
        f"{100 * average:.1f}" if metric == "accuracy" else f"{average:.3f}",
        "not reached" if step is None else f"{step}",
        f"{start['seconds']['mean']:.1f}",
        ", ".join(lost) or "none",
    ]


def _against(architecture: Mapping[str, Any]) -> list[str]:
    """Name what the column of differences is against; there is none where one seed leaves chance unknown."""
    others = [each["against"]["init"] for each in architecture["starts"] if each.get("against")]
    unit = "points" if architecture["task"]["metric"] == "accuracy" else "perplexity, %"
    return [f"against {others[0]}, {unit}, 95 %"] if others else []


def _interval(against: Mapping[str, Any] | None, metric: Metric) -> str:
    """Return Welch's interval, and in brackets that of the differences seed by seed."""
    if against is None:
        return ""
    _, welch = shown_difference(against, metric)
    return welch if against["paired"] is None else f"{welch} ({shown_difference(against, metric, pair=True)[1]})"


def _goal(architecture: Mapping[str, Any]) -> str:
    """Name the value to which steps are counted: where the best simple start ends."""
    metric: Metric = architecture["task"]["metric"]
    simple = next((each for each in architecture["starts"] if each["init"] == architecture["best_simple"]), None)
    return "steps to -" if simple is None else f"steps to {shown(simple['final']['mean'], metric)} ({simple['init']})"


def _steps(architecture: Mapping[str, Any]) -> list[int]:
    """Return step 0, some in between, and the last."""
    points = next((each["steps"] for each in architecture["starts"] if each["rate"] is not None), [0])
    gaps = min(_COLUMNS, len(points) - 1)
    return sorted({points[round(index * (len(points) - 1) / max(1, gaps))] for index in range(gaps + 1)})


def _figure(value: float, metric: Metric) -> str:
    if metric == "accuracy":
        return f"{100 * value:.1f}"
    perplexity = exp(min(value, 700.0))
    return (
        f"{perplexity:.2f}" if perplexity < 100 else f"{perplexity:,.0f}" if perplexity < 1e6 else f"{perplexity:.1e}"
    )


def _deviation(start: Mapping[str, Any], metric: Metric) -> str:
    """Return the spread; of a perplexity, what the spread of its logarithm makes of it."""
    if metric == "accuracy":
        return f"{100 * start['final']['std']:.1f}"
    return f"{exp(min(start['final']['mean'], 700.0)) * start['final']['std']:.2f}"


def _lines(table: Sequence[Sequence[str]]) -> list[str]:
    first, *rest = (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in table)
    return [first, "|" + "---|" * len(table[0]), *rest]
