"""Figures as rows of text: a row for each figure, a column for each initialization."""

from collections.abc import Mapping, Sequence
from typing import Final

from paramgen.diagnosis import Light
from paramgen.diagnosis.results import MeasureResult, labels_of, shown_value

MARKS: Final[Mapping[Light, str]] = {"good": "ok", "watch": "watch", "bad": "bad"}
"""What stands behind a figure where there are no colours."""

Cell = tuple[str, Light | None]
"""A figure as text, and its light where it can be wrong."""


def header(inits: Sequence[str]) -> list[str]:
    """Return the names of the columns."""
    return ["figure", *inits]


def cells(inits: Sequence[str], results: Sequence[MeasureResult]) -> list[tuple[str, str, list[Cell]]]:
    """Return the measure, the figure's label, and a cell for each initialization, row by row."""
    found = []
    for measure in dict.fromkeys(each.measure for each in results):
        taken = {each.init: each for each in results if each.measure == measure}
        names = dict.fromkeys(name for each in taken.values() for name in each.figures)
        for name in names:
            label = labels_of(measure).get(name, name)
            found.append((measure, label, [_cell(taken.get(init), name) for init in inits]))
    return found


def rows(inits: Sequence[str], results: Sequence[MeasureResult]) -> list[list[str]]:
    """Return the cells as text, each with the word of its light."""
    return [
        [f"{measure}: {label}", *(f"{value} {MARKS[light]}" if light is not None else value for value, light in row)]
        for measure, label, row in cells(inits, results)
    ]


def _cell(result: MeasureResult | None, name: str) -> Cell:
    if result is None or name not in result.figures:
        return "", None
    return shown_value(result.figures[name]), result.lights.get(name)
