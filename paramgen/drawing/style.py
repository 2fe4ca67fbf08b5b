"""The style of the pages that report on initializations: one sheet, light and dark, that loads nothing."""

from importlib.resources import files


def report_style() -> str:
    """Return the style sheet."""
    return (files("paramgen.drawing") / "report.css").read_text(encoding="utf-8")
