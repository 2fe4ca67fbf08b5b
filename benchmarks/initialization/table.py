"""The summary of rows of image classifiers, and the Markdown of a card."""

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, median
from typing import Any, Final

from benchmarks.initialization.rows import JUDGED, Entry, Row
from paramgen.comparison.results import Spread
from paramgen.initializers.auto import MEASURED_CONTROLS

REQUIRED: Final = ("library", JUDGED, "orthogonal", "lsuv", *MEASURED_CONTROLS)
"""What a row is complete with."""

REQUIRED_AT_REAL_SIZE: Final = ("library", JUDGED, "statistics")
"""The same of networks that people name, where every run costs minutes; a row may have more."""

INITS: Final = (*REQUIRED, "statistics", "he", "mimetic", "idinit")
TIE: Final = 0.005
"""Final accuracies so far apart count as tied."""


def summary_of(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the shares and means over all rows, and by family, data and size; nothing where there is no row."""
    if not rows:
        return {}
    groups: Mapping[str, Callable[[Row], object]] = {
        "by_family": lambda row: row.family,
        "by_data": lambda row: row.data,
        "by_domain": lambda row: row.domain,
        "by_size": lambda row: row.beyond,
    }
    found = _figures(rows)
    for group, key in groups.items():
        found[group] = {
            str(value): _figures([row for row in rows if key(row) == value]) for value in dict.fromkeys(map(key, rows))
        }
    return found


def ratio_of(row: Row) -> float:
    """Return how many times fewer steps the hypernet takes to where the best simple one ends; 0: it never does."""
    steps = row.steps_to_best_simple(JUDGED)
    return 0.0 if steps is None else row.entries[JUDGED].steps[-1] / max(1, steps)


def wins_or_ties(row: Row) -> bool:
    """Whether the hypernet ends at most `TIE` below the best simple initialization."""
    return _lead(row) >= -TIE


def markdown(result: Mapping[str, Any]) -> str:
    """Return the table of each data set, the summary, and what the networks are."""
    rows = [Row.from_json(row, "accuracy") for row in result["rows"]]
    inits = [init for init in INITS if init != JUDGED and any(init in row.entries for row in rows)]
    lines = [_conclusion(result)]
    for data in dict.fromkeys(row.data for row in rows):
        own = [row for row in rows if row.data == data]
        lines += ["", f"## {data} ({own[0].domain})", "", _header(inits), "|---|--:|" + "--:|" * (len(inits) + 3)]
        lines += [_line(row, inits) for row in own]
    known = {row.network: row for row in rows}
    lines += ["", *(f"- `{name}`{_size(row)}: `{row.made_by}`" for name, row in known.items())]
    return "\n".join(lines)


def _lead(row: Row) -> float:
    """Return by how much the hypernet ends above the best simple initialization; without a result it is last."""
    ended, simple = row.ended, row.best_simple
    if simple is None or JUDGED not in ended:
        return -1.0
    return ended[JUDGED].mean - ended[simple].mean


def _figures(rows: Sequence[Row]) -> dict[str, Any]:
    def over(init: str, figure: Callable[[Entry], Spread | None]) -> float | None:
        own = [figure(row.entries[init]) for row in rows if init in row.entries]
        ended = [spread.mean for spread in own if spread is not None]
        return round(mean(ended), 4) if len(own) == len(rows) and ended else None

    return {
        "rows": len(rows),
        "wins_or_ties": round(mean(wins_or_ties(row) for row in rows), 4),
        "wins": round(mean(_lead(row) > TIE for row in rows), 4),
        "mean_lead": round(mean(_lead(row) for row in rows), 4),
        "median_steps_ratio": round(median(ratio_of(row) for row in rows), 3),
        "reached": round(mean(ratio_of(row) > 0 for row in rows), 4),
        "final": {init: over(init, lambda entry: entry.final) for init in INITS},
        "zero_shot": {init: over(init, lambda entry: entry.zero_shot) for init in INITS},
    }


def _conclusion(result: Mapping[str, Any]) -> str:
    found = result["summary"]
    if not found:
        return "No row is complete yet."
    judged = 100 * (found["zero_shot"][JUDGED] or 0.0)
    rows = f"{found['rows']} {'row' if found['rows'] == 1 else 'rows'}"
    return (
        f"On {rows} the hypernet wins or ties (within {100 * TIE:.1f} points of the best simple initialization) on "
        f"{100 * found['wins_or_ties']:.0f} %, ends {100 * found['mean_lead']:+.1f} points from it "
        f"in the mean, and takes {found['median_steps_ratio']:.2f} times fewer steps to where it ends (median; not "
        f"reached counts as 0). Zero-shot: {judged:.1f} %. {result['steps']} steps of {result['batch']} images, "
        f"{result['seeds']} seeds, learning rates from {min(result['lr']):g} to {max(result['lr']):g} and beyond where "
        f"the best lay at the edge, chosen on images kept back from training, {result['test_examples']:,} test images "
        "at most; accuracy in percent, ± over seeds, the best simple initialization in bold, and the hypernet where it "
        "is better still."
    )


def _header(inits: Sequence[str]) -> str:
    return f"| network | parameters | {' | '.join(inits)} | hypernet | zero-shot | steps to best simple |"


def _line(row: Row, inits: Sequence[str]) -> str:
    cells = [_cell(row.entries.get(init), bold=init == row.best_simple) for init in inits]
    judged = row.entries[JUDGED]
    steps = row.steps_to_best_simple(JUDGED)
    zero_shot = "" if judged.zero_shot is None else f"{100 * judged.zero_shot.mean:.1f}"
    cells += [_cell(judged, bold=_lead(row) > 0), zero_shot, "not reached" if steps is None else str(steps)]
    return f"| `{row.network}` | {row.parameters:,} | {' | '.join(cells)} |"


def _cell(entry: Entry | None, *, bold: bool) -> str:
    if entry is None:
        return ""
    if entry.final is None:
        return "failed"
    figure = f"{100 * entry.final.mean:.1f}"
    figure = f"**{figure}**" if bold else figure
    return figure + (f" ± {100 * entry.final.std:.1f}" if entry.same_as is None else f" (= {entry.same_as})")


def _size(row: Row) -> str:
    return " (wider and deeper than any in training)" if row.beyond else ""
