"""A diagnosis as one HTML file that loads nothing: the advice first, then curves and figures."""

from collections.abc import Iterable
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from paramgen._optional import require
from paramgen.diagnosis import measures
from paramgen.diagnosis.curves import svg
from paramgen.diagnosis.outcome import Diagnosis
from paramgen.diagnosis.table import Cell, cells, header
from paramgen.drawing.style import answer_block, report_style
from paramgen.errors import OptionError
from paramgen.storage.folder import write_text

_SIGNS: Final = {"good": "&#9679;", "watch": "&#9650;", "bad": "&#9632;"}


def checked_page(path: Path, *, overwrite: bool) -> Path:
    """Return the path of the page, before anything is measured.

    Raises:
        OptionError: It is no name of a page, or exists.
        MissingPackageError: What draws it is not installed.
    """
    if path.suffix != ".html":
        raise OptionError(f"{str(path)!r} has the ending {path.suffix!r}. Allowed: .html. Type: --out diagnosis.html")
    if path.exists() and not overwrite:
        raise OptionError(f"{str(path)!r} exists. Type another name, or add --overwrite")
    require("matplotlib", extra="pictures")
    return path


def write_page(diagnosis: Diagnosis, path: Path) -> None:
    """Write the page, in one step."""
    write_text(path, html(diagnosis))


def html(diagnosis: Diagnosis) -> str:
    """Return the page."""
    taken = dict.fromkeys(each.measure for each in diagnosis.results if each.measure in measures.names())
    answer = diagnosis.advice or ["Nothing that was measured is wrong with these initial weights."]
    return Template((files("paramgen.diagnosis") / "page.html").read_text(encoding="utf-8")).substitute(
        style=report_style(),
        title=escape(diagnosis.architecture),
        answer=answer_block(answer, many=len(answer) > 1),
        about=escape(
            f"{diagnosis.architecture} has {diagnosis.parameters:,} parameters. It was run on {diagnosis.examples} "
            f"examples of {diagnosis.data}, with the initial weights of {_counted(len(diagnosis.seeds))}; "
            f"{_trained(taken)}."
        ),
        curves=svg(diagnosis),
        head="".join(f'<th scope="col">{escape(cell)}</th>' for cell in header(diagnosis.inits)),
        body="".join(_row(*each) for each in cells(diagnosis.inits, diagnosis.results)),
        explanations="".join(f"<dt>{escape(name)}</dt><dd>{escape(_explained(name))}</dd>" for name in taken),
        notes="".join(f"<li>{escape(line)}</li>" for line in (*diagnosis.notes, *_reasons(diagnosis))),
    )


def _row(measure: str, label: str, row: Iterable[Cell]) -> str:
    return f"<tr><td>{escape(measure)}: {escape(label)}</td>{''.join(map(_cell, row))}</tr>"


def _cell(cell: Cell) -> str:
    value, light = cell
    if light is None:
        return f"<td>{escape(value)}</td>"
    sign = f'<span class="light" role="img" aria-label="{light}">{_SIGNS[light]}</span>'
    return f'<td class="{light}">{escape(value)}{sign}</td>'


def _explained(measure: str) -> str:
    return " ".join((measures.get(measure).__doc__ or "").split())


def _reasons(diagnosis: Diagnosis) -> list[str]:
    return [f"{each.init}, {each.measure}: {each.reason}" for each in diagnosis.results if each.reason]


def _trained(taken: Iterable[str]) -> str:
    """Say which measures trained it."""
    names = [name for name in taken if measures.get(name).trains]
    return f"to measure {', '.join(names)} it was trained for some steps" if names else "nothing was trained"


def _counted(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"{seeds} seeds"
