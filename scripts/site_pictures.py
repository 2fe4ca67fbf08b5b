"""Figures on the pages of initializers: what weights and signals are like, and what their experiment measured."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

import matplotlib
from matplotlib.figure import Figure

from scripts.site_figures import COLORS, STYLE, as_svg

Figures = Mapping[str, Any]
LEAST: Final = 1e-12
"""What is drawn of a mean square of zero; singular values have a linear axis."""


def signal_figure(name: str, own: Figures, other: Figures | None, label: str) -> str:
    """Return singular values and mean squares by layer, beside those of another initialization where there is one.

    Args:
        name: Of the initializer or modifier, in the legend.
        own: `singular_values` and `mean_square`.
        other: The same of what it is compared with.
        label: Of the other, in the legend.

    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 2.5), layout="constrained")
        spectrum, squares = figure.subplots(1, 2)
        for each, kind, said in ((other, "library", label), (own, "hypernet", name)):
            if each is None:
                continue
            line = {"color": COLORS[kind], "linewidth": 2.0 if kind == "hypernet" else 1.3}
            dashed = "-" if kind == "hypernet" else (0, (4, 2))
            values = each["singular_values"]
            spectrum.plot(range(1, len(values) + 1), values, linestyle=dashed, **line)
            layers = [(at, max(value, LEAST)) for at, value in enumerate(each["mean_square"], 1) if value is not None]
            squares.plot(*zip(*layers, strict=True), linestyle=dashed, label=said, **line)
        spectrum.set_title("singular values", fontsize=9, loc="left")
        spectrum.set_xlabel("number")
        spectrum.set_ylim(0)
        squares.set_title("mean square of the signal", fontsize=9, loc="left")
        squares.set_xlabel("layer")
        squares.set_xticks((1, 5, 10, 15, 20))
        _decades(squares)
        figure.legend(loc="outside upper left", ncols=2, frameon=False)
        return as_svg(figure, f"signals {name}")


def _decades(axes: Any) -> None:
    """Give an axis a logarithmic scale over a factor of 100 at least, so that small changes look small."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high / low < 100:
        middle = (low * high) ** 0.5
        low, high = middle / 10, middle * 10
    axes.set_ylim(low, high)
    axes.minorticks_off()


def spread_figure(name: str, figures: Figures) -> str:
    """Return every mean of an experiment with its std, one line each; empty where there is none."""
    rows = spreads(figures)
    if not rows:
        return ""
    means = [each["mean"] for _, each in rows]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 0.7 + 0.26 * len(rows)), layout="constrained")
        axes = figure.subplots()
        places = range(len(rows), 0, -1)
        axes.errorbar(
            means,
            places,
            xerr=[each["std"] for _, each in rows],
            fmt="o",
            markersize=6,
            color=COLORS["hypernet"],
            elinewidth=1.2,
        )
        if min(means) > 0 and max(means) / min(means) > 100:
            axes.set_xscale("log")
            axes.minorticks_off()
        axes.set_yticks(places, [label for label, _ in rows])
        axes.set_ylim(0.4, len(rows) + 0.6)
        return as_svg(figure, f"spreads {name}")


def spreads(figures: Figures, above: Sequence[str] = ()) -> list[tuple[str, Mapping[str, float]]]:
    """Return all means with stds of an experiment, each with the keys that lead to it."""
    if set(figures) == {"mean", "std"}:
        return [(", ".join(key.replace("_", " ") for key in above), figures)]
    return [
        found for key, each in figures.items() if isinstance(each, Mapping) for found in spreads(each, (*above, key))
    ]


def framed(svg: str, label: str) -> str:
    """Return a figure with what it says for those who do not see it."""
    return f'<figure role="img" aria-label="{escape(label, quote=True)}">{svg}</figure>'
