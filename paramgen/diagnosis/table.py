"""A diagnosis as rows of text: a row for each figure, a column for each initialization."""

from collections.abc import Mapping
from typing import Final

from paramgen.diagnosis import Light
from paramgen.diagnosis.results import Diagnosis, labels_of, shown_value

MARKS: Final[Mapping[Light, str]] = {"good": "ok", "watch": "watch", "bad": "bad"}
"""What stands behind a figure where there are no colours."""

Cell = tuple[str, Light | None]
"""A figure as text, and its light where it can be wrong."""


def header(diagnosis: Diagnosis) -> list[str]:
    """Return the names of the columns."""
    return ["figure", *diagnosis.inits]


def cells(diagnosis: Diagnosis) -> list[tuple[str, str, list[Cell]]]:
    """Return the measure, the figure's label, and a cell for each initialization, row by row."""
    found = []
    for measure in dict.fromkeys(each.measure for each in diagnosis.results):
        results = {init: diagnosis.of(init, measure) for init in diagnosis.inits}
        names = [name for each in results.values() if each is not None for name in each.figures]
        for name in dict.fromkeys(names):
            row: list[Cell] = []
            for result in results.values():
                known = result is not None and name in result.figures
                value = shown_value(result.figures[name]) if known and result is not None else ""
                row.append((value, None if result is None else result.lights.get(name)))
            found.append((measure, labels_of(measure).get(name, name), row))
    return found


def rows(diagnosis: Diagnosis) -> list[list[str]]:
    """Return the cells as text, each with the word of its light."""
    return [
        [f"{measure}: {label}", *(f"{value} {MARKS[light]}" if light is not None else value for value, light in row)]
        for measure, label, row in cells(diagnosis)
    ]
