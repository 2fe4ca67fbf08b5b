"""What the pages that report on initializations share: a sheet, light and dark, that loads nothing, and the answer."""

from collections.abc import Iterable
from html import escape
from importlib.resources import files


def report_style() -> str:
    """Return the style sheet."""
    return (files("paramgen.drawing") / "report.css").read_text(encoding="utf-8")


def answer_block(sentences: Iterable[str], *, many: bool) -> str:
    """Return the sentences that a page begins with; in a smaller type where there are `many`."""
    paragraphs = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    return f'<div class="answer{" many" if many else ""}">{paragraphs}</div>'
