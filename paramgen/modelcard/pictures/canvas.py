"""A sheet of paper with round corners for matplotlib to draw on: it stands on a light page as on a dark one."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final

from paramgen._optional import require

EXTRA: Final = "pictures"
INK, FAINT = "#14181f", "#5b6472"
_DPI: Final = 144
_STYLE: Final = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "text.parse_math": False,  # names may hold dollar signs
    "axes.edgecolor": "#aab2bf",
    "axes.labelcolor": FAINT,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e6e9ef",
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "axes.unicode_minus": False,
}


@contextmanager
def sheet(width: float, height: float, title: str, subtitle: str) -> Iterator[tuple[Any, BytesIO]]:
    """Yield a figure and what receives it as PNG when the block ends."""
    matplotlib = require("matplotlib", extra=EXTRA)
    figures = require("matplotlib.figure", extra=EXTRA)
    require("matplotlib.backends.backend_agg", extra=EXTRA)
    boxes = require("matplotlib.patches", extra=EXTRA)
    content = BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure = figures.Figure(figsize=(width, height), layout="constrained", facecolor="none")
        figure.get_layout_engine().set(
            rect=(0.2 / width, 0.2 / height, 1 - 0.5 / width, 1 - 1.14 / height), w_pad=0.08, h_pad=0.06
        )
        paper = boxes.FancyBboxPatch(
            (0.06, 0.06), width - 0.12, height - 0.12, boxstyle="round,pad=0,rounding_size=0.14",
            transform=figure.dpi_scale_trans, facecolor="white", edgecolor="#d5dbe4", linewidth=1, zorder=-10,
        )  # fmt: skip
        figure.add_artist(paper)
        figure.text(0.30 / width, 1 - 0.40 / height, title, fontsize=13, fontweight="bold", va="center")
        figure.text(0.30 / width, 1 - 0.66 / height, subtitle, fontsize=9.5, color=FAINT, va="center")
        yield figure, content
        figure.savefig(content, format="png", dpi=_DPI, metadata={"Software": None}, facecolor="none")
