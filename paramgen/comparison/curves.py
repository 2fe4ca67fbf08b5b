"""Curves of a comparison, drawn by matplotlib: one panel for each architecture, bands for the spread over seeds."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO, StringIO
from math import exp
from pathlib import Path
from typing import Any, Final

from paramgen._optional import require
from paramgen.comparison.conclusion import ranked
from paramgen.comparison.results import ArchitectureResult, AtBestLr, Metric
from paramgen.storage.folder import write_bytes

# Okabe and Ito's colours, told apart by all kinds of eyes; line styles tell them apart in print.
CURVE_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a6a00", "#444444")
STYLES: Final = ("-", "--", "-.", ":")
_STYLE: Final = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6eb",
    "axes.edgecolor": "#7d8694",
    "axes.axisbelow": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "paramgen",
}


def png(architectures: Sequence[ArchitectureResult], file: Path) -> None:
    """Write the panels of all architectures as one picture, in one step."""
    content = BytesIO()
    with figure_of(len(architectures)) as (figure, panels):
        for panel, architecture in zip(panels, architectures, strict=True):
            _draw(panel, architecture)
            panel.set_title(architecture.name, loc="left", fontsize=11, fontweight="bold")
        figure.savefig(content, format="png", dpi=130, metadata={"Software": None})
    write_bytes(file, content.getvalue())


def svg(architecture: ArchitectureResult) -> str:
    """Return one architecture's panel as an SVG element, its text as text."""
    with figure_of(1) as (figure, panels):
        _draw(panels[0], architecture)
        return svg_of(figure)


def svg_of(figure: Any) -> str:
    """Return a figure of matplotlib as an SVG element, its text as text."""
    content = StringIO()
    figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    text = content.getvalue()
    return text[text.index("<svg") :]


@contextmanager
def figure_of(panels: int, *, extra: str = "compare") -> Iterator[tuple[Any, list[Any]]]:
    """Give a figure with so many panels, three side by side at most, in the style of all our curves."""
    matplotlib = require("matplotlib", extra=extra)
    figures = require("matplotlib.figure", extra=extra)
    require("matplotlib.backends.backend_agg", extra=extra)
    columns = min(panels, 3)
    lines = -(-panels // columns)
    with matplotlib.rc_context(_STYLE):
        figure = figures.Figure(figsize=(max(7.6, 5.2 * columns), 4.4 * lines), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False)
        flat = [panel for line in axes for panel in line]
        for unused in flat[panels:]:
            unused.set_axis_off()
        yield figure, flat[:panels]


def _draw(panel: Any, architecture: ArchitectureResult) -> None:
    metric = architecture.task.metric
    inits = [each.init for each in architecture.initializations]
    for result in ranked(architecture.initializations, metric):
        assert result.best is not None  # it is ranked
        _draw_curve(panel, result.init, result.best, metric, inits.index(result.init))
    chance = _shown(architecture.task.chance, metric)
    panel.axhline(chance, color="#7d8694", linewidth=1, linestyle=(0, (2, 3)), label="guessing")
    panel.set_xlabel("training steps")
    if architecture.task.length is not None and architecture.per_step:
        _add_axis_of_tokens(panel, architecture.per_step, architecture.task.unit)
    panel.margins(x=0.01)
    if metric == "accuracy":
        panel.set_ylabel("test accuracy, %")
        panel.set_ylim(bottom=0)
    else:
        panel.set_ylabel("test perplexity (lower is better)")
        panel.set_yscale("log")
        ticker = require("matplotlib.ticker", extra="compare")
        for axis in (panel.yaxis.set_major_formatter, panel.yaxis.set_minor_formatter):
            axis(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    panel.legend(frameon=False, loc="best")


def _add_axis_of_tokens(panel: Any, per_step: int, unit: str) -> None:
    """Say on a second axis how many bytes or tokens were read by then, whatever the batch."""
    axis = panel.secondary_xaxis("top", functions=(lambda step: step * per_step, lambda read: read / per_step))
    axis.set_xlabel(f"{unit}s read")
    formatter = require("matplotlib.ticker", extra="compare").EngFormatter(sep="")
    axis.xaxis.set_major_formatter(formatter)


def _draw_curve(panel: Any, label: str, best: AtBestLr, metric: Metric, index: int) -> None:
    """Draw the mean over seeds with a band of one standard deviation, in the colour of its index."""
    colour, line = CURVE_COLOURS[index % len(CURVE_COLOURS)], STYLES[index // len(CURVE_COLOURS) % len(STYLES)]
    mean, std = best.curve.mean, best.curve.std
    low, high = ([_shown(m + side * s, metric) for m, s in zip(mean, std, strict=True)] for side in (-1, 1))
    panel.fill_between(best.steps, low, high, color=colour, alpha=0.18, linewidth=0)
    panel.plot(best.steps, [_shown(m, metric) for m in mean], line, color=colour, linewidth=2, label=label)


def _shown(value: float, metric: Metric) -> float:
    return 100 * value if metric == "accuracy" else exp(min(value, 50.0))
