"""Small tables for notebooks: what an object's `_repr_html_` returns. Every text in them is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape


def facts(title: str, rows: Mapping[str, object]) -> str:
    """Return a table of names and values under a title."""
    lines = (
        f"<tr><th style='text-align:left'>{_cell(name)}</th><td>{_cell(value)}</td></tr>"
        for name, value in rows.items()
    )
    return _table(title, lines)


def table(title: str, header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with a header under a title."""
    heads = "".join(f"<th>{_cell(name)}</th>" for name in header)
    return _table(
        title,
        [
            f"<tr>{heads}</tr>",
            *("<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>" for row in rows),
        ],
    )


def _table(title: str, lines: Iterable[str]) -> str:
    caption = f"<caption style='text-align:left'><b>{_cell(title)}</b></caption>"
    return f"<table>{caption}{''.join(lines)}</table>"


def _cell(value: object) -> str:
    return escape(f"{value:,}" if type(value) is int else str(value))
