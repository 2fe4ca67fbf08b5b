"""From the figures of single starts to rows, their summary, and the Markdown of a card."""

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, median
from typing import Any, Final

from paramgen.comparison.measures import reached
from paramgen.initializers.auto import CONTROLS

JUDGED: Final = "hypernet"
REQUIRED: Final = ("library", JUDGED, "orthogonal", "lsuv", *CONTROLS)
"""What a row is complete with."""

STARTS: Final = (*REQUIRED, "he", "mimetic", "idinit")
TIE: Final = 0.005
"""Final accuracies so far apart count as level."""

_GROUPS: Final = {"family": "by_family", "data": "by_data", "domain": "by_domain", "beyond": "by_size"}

Row = Mapping[str, Any]


def entry_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the table keeps of the results of a comparison of one start."""
    architecture = values["architectures"][0]
    start = architecture["starts"][0]
    kept = ("rate", "rate_at_edge", "rates", "final", "zero_shot", "steps", "curve", "area", "seconds", "start_seconds")
    lost = ("failed", "reasons", "diverged", "at_chance")
    found = {key: start[key] for key in (*kept, *lost) if key in start}
    return {**found, "parameters": architecture["parameters"], "task": architecture["task"]}


def known_entry(row: Row, start: str) -> dict[str, Any]:
    """Return what `entry_of` returned of a start, from the row that was made of it."""
    entry = row["starts"][start]
    if "same_as" in entry:
        return {"same_as": entry["same_as"]}
    kept = {key: value for key, value in entry.items() if key != "steps_to_best_simple"}
    return {**kept, "parameters": row["parameters"], "task": {"chance": row["chance"]}}


def row_of(about: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a row: what it is about, and its starts with the steps that each takes to where the best simple one ends.

    Args:
        about: Network, family, data.
        entries: What `entry_of` returned, by start, or `{"same_as": START}`.

    """
    own = {
        name: {**entries[entry["same_as"]], **entry} if "same_as" in entry else entry for name, entry in entries.items()
    }
    ended = {name: entry for name, entry in own.items() if entry["rate"] is not None}
    simple = max((name for name in ended if name != JUDGED), key=lambda name: _final(ended[name]), default=None)
    starts = {}
    for name, entry in own.items():
        starts[name] = {key: value for key, value in entry.items() if key not in ("parameters", "task")}
        starts[name]["steps_to_best_simple"] = None
        if simple is not None and name in ended:
            curve, points = entry["curve"]["mean"], entry["steps"]
            starts[name]["steps_to_best_simple"] = reached(curve, points, _final(ended[simple]), "accuracy")
    first = next(iter(own.values()))
    return {
        **about,
        "parameters": first["parameters"],
        "chance": first["task"]["chance"],
        "best_simple": simple,
        "starts": starts,
    }


def summary_of(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the shares and means over all rows, and by family, data and size; nothing where there is no row."""
    if not rows:
        return {}
    found = _figures(rows)
    for key, group in _GROUPS.items():
        found[group] = {
            str(value): _figures([row for row in rows if row[key] == value])
            for value in dict.fromkeys(row[key] for row in rows)
        }
    return found


def ratio_of(row: Row) -> float:
    """Return how many times fewer steps the hypernet takes to where the best simple start ends; 0: it never does."""
    starts = row["starts"]
    steps = starts[JUDGED]["steps_to_best_simple"]
    return 0.0 if steps is None else starts[JUDGED]["steps"][-1] / max(1, steps)


def wins_or_ties(row: Row) -> bool:
    """Whether the hypernet ends at most `TIE` below the best simple start."""
    return _lead(row) >= -TIE


def markdown(result: Mapping[str, Any]) -> str:
    """Return the table of each data set, the summary, and what the networks are."""
    rows = result["rows"]
    names = [name for name in STARTS if name != JUDGED and any(name in row["starts"] for row in rows)]
    lines = [_conclusion(result)]
    for data in dict.fromkeys(row["data"] for row in rows):
        lines += ["", f"## {data} ({next(row['domain'] for row in rows if row['data'] == data)})", "", _header(names)]
        lines.append("|---|--:|" + "--:|" * (len(names) + 3))
        lines += [_line(row, names) for row in rows if row["data"] == data]
    known = {row["network"]: row for row in rows}
    lines += ["", *(f"- `{name}`{_size(row)}: `{row['made_by']}`" for name, row in known.items())]
    return "\n".join(lines)


def _final(entry: Mapping[str, Any]) -> float:
    return float(entry["final"]["mean"])


def _lead(row: Row) -> float:
    """Return by how much the hypernet ends above the best simple start; without a result it is last."""
    judged = row["starts"][JUDGED]
    if row["best_simple"] is None or judged["rate"] is None:
        return -1.0
    return _final(judged) - _final(row["starts"][row["best_simple"]])


def _figures(rows: Sequence[Row]) -> dict[str, Any]:
    def over(start: str, value: Callable[[Mapping[str, Any]], float]) -> float | None:
        own = [row["starts"][start] for row in rows if start in row["starts"]]
        ended = [value(entry) for entry in own if entry["rate"] is not None]
        return round(mean(ended), 4) if len(own) == len(rows) and ended else None

    return {
        "rows": len(rows),
        "wins_or_ties": round(mean(wins_or_ties(row) for row in rows), 4),
        "wins": round(mean(_lead(row) > TIE for row in rows), 4),
        "mean_lead": round(mean(_lead(row) for row in rows), 4),
        "median_steps_ratio": round(median(ratio_of(row) for row in rows), 3),
        "reached": round(mean(ratio_of(row) > 0 for row in rows), 4),
        "final": {start: over(start, _final) for start in STARTS},
        "zero_shot": {start: over(start, lambda entry: float(entry["zero_shot"]["mean"])) for start in STARTS},
    }


def _conclusion(result: Mapping[str, Any]) -> str:
    found = result["summary"]
    if not found:
        return "No row is complete yet."
    judged = 100 * (found["zero_shot"][JUDGED] or 0.0)
    return (
        f"On {found['rows']} rows the hypernet wins or ties (within {100 * TIE:.1f} points of the best simple start) "
        f"on {100 * found['wins_or_ties']:.0f} %, ends {100 * found['mean_lead']:+.1f} points from it in the mean, and "
        f"takes {found['median_steps_ratio']:.2f} times fewer steps to where it ends (median; not reached counts as "
        f"0). Zero-shot: {judged:.1f} %. {result['steps']} steps of {result['batch']} images, {result['seeds']} seeds, "
        f"rates from {min(result['rates']):g} to {max(result['rates']):g} and beyond where the best lay at the edge, "
        f"chosen on images kept back from training, {result['test_examples']:,} test images at most; "
        "accuracy in percent, ± over seeds, the best simple start in bold, and the hypernet where it is better still."
    )


def _header(names: Sequence[str]) -> str:
    return f"| network | parameters | {' | '.join(names)} | hypernet | zero-shot | steps to best simple |"


def _line(row: Row, names: Sequence[str]) -> str:
    cells = [_cell(row["starts"].get(name), bold=name == row["best_simple"]) for name in names]
    judged = row["starts"][JUDGED]
    steps = judged["steps_to_best_simple"]
    zero_shot = "" if judged["rate"] is None else f"{100 * judged['zero_shot']['mean']:.1f}"
    cells += [_cell(judged, bold=_lead(row) > 0), zero_shot, "not reached" if steps is None else str(steps)]
    return f"| `{row['network']}` | {row['parameters']:,} | {' | '.join(cells)} |"


def _cell(entry: Mapping[str, Any] | None, *, bold: bool) -> str:
    if entry is None:
        return ""
    if entry["rate"] is None:
        return "failed"
    figure = f"{100 * _final(entry):.1f}"
    figure = f"**{figure}**" if bold else figure
    same = f" (= {entry['same_as']})" if "same_as" in entry else f" ± {100 * entry['final']['std']:.1f}"
    return figure + same


def _size(row: Row) -> str:
    return " (wider and deeper than any in training)" if row["beyond"] else ""
