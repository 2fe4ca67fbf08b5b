"""Figures as SVG inside the page, so that they take its font and its colours, by day and by night."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib
from matplotlib.figure import Figure

Row = Mapping[str, Any]

# matplotlib draws in these, and the page's style sheet says what they are.
COLORS: Final = {
    "text": "#010101",
    "hypernet": "#020202",
    "simple": "#030303",
    "library": "#040404",
    "grid": "#050505",
    "matched": "#060606",
    "shuffled": "#070707",
}
_NAMES: Final = re.compile(
    r' id="(?:figure|axes|patch|text|line2d|xtick|ytick|matplotlib|LineCollection|legend)[\w.]*"'
)
STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": COLORS["text"],
    "axes.labelcolor": COLORS["text"],
    "axes.edgecolor": COLORS["grid"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLORS["grid"],
    "grid.linewidth": 0.7,
    "xtick.color": COLORS["text"],
    "ytick.color": COLORS["text"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


ENDS: Final = {
    "library": "default initialization",
    "simple": "best simple initialization",
    "hypernet": "hypernet",
}
PARTS: Final = {
    "library": "default initialization",
    "matched": "at the hypernet's norms",
    "shuffled": "its values shuffled",
    "hypernet": "hypernet",
}
"""What a hypernet's lead is made of: each has one thing more of it than the one before."""


def finals_figure(rows: Sequence[Row], kinds: Mapping[str, str] = ENDS) -> str:
    """Return where initializations end, one line per network, the largest lead on top.

    Args:
        rows: The networks.
        kinds: What is drawn, with its name in the legend.

    """
    ordered = sorted(rows, key=lambda row: _mean(row, "hypernet") - _mean(row, row["best_simple"]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.0, 0.9 + 0.28 * len(rows)), layout="constrained")
        axes = figure.subplots()
        places = range(len(ordered))
        for kind, label in kinds.items():
            ends = [row["initializations"][_start(row, kind)]["final"] for row in ordered]
            axes.errorbar(
                [100 * end["mean"] for end in ends],
                places,
                xerr=[100 * end["std"] for end in ends],
                fmt="o",
                markersize=7 if kind == "hypernet" else 6,
                markerfacecolor=COLORS[kind] if kind != "library" else "none",
                color=COLORS[kind],
                elinewidth=1.2,
                label=label,
            )
        axes.set_yticks(places, [row["network"] for row in ordered])
        axes.set_ylim(-0.6, len(ordered) - 0.4)  # whole marks, however few the lines
        axes.set_xlabel("test accuracy at the end, % (± over seeds)")
        figure.legend(
            loc="outside upper right", ncols=min(3, 6 - len(kinds)), frameon=False, columnspacing=1, handletextpad=0.3
        )
        return as_svg(figure, f"finals {' '.join(kinds)}")


def curve_panel(row: Row, number: int) -> str:
    """Return the accuracy of one network over the steps, from three initializations."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.7, 1.9), layout="constrained")
        axes = figure.subplots()
        for kind in ("library", "simple", "hypernet"):
            entry = row["initializations"][_start(row, kind)]
            axes.plot(
                entry["steps"],
                [100 * value for value in entry["curve"]["mean"]],
                color=COLORS[kind],
                linewidth=2.0 if kind == "hypernet" else 1.4,
                linestyle=(0, (4, 2)) if kind == "library" else "-",
            )
        axes.set_ylim(0)
        axes.set_title(row["network"], fontsize=9, loc="left")
        axes.set_xticks([row["initializations"]["library"]["steps"][0], row["initializations"]["library"]["steps"][-1]])
        return as_svg(figure, f"curve{number}")


def growth_figure(rows: Sequence[Row]) -> str:
    """Return the seconds of each network's graph over its nodes, and a line that grows as they do."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.0, 3.0), layout="constrained")
        axes = figure.subplots()
        nodes = [row["nodes"] for row in rows]
        axes.loglog(nodes, [row["trace_cpu_s"] for row in rows], "o", markersize=4, color=COLORS["hypernet"])
        middle = sorted(row["trace_cpu_s"] / row["nodes"] for row in rows)[len(rows) // 2]
        ends = [min(nodes), max(nodes)]
        axes.loglog(ends, [middle * end for end in ends], color=COLORS["library"], linewidth=1.2)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.yaxis.set_minor_formatter("")
        axes.set_xlabel("nodes")
        axes.set_ylabel("CPU seconds")
        return as_svg(figure, "growth")


def load_figure(samples: Mapping[str, Sequence[float]]) -> str:
    """Return, over the minutes of a load: how long small predictions take, and the server's memory and open files."""
    minutes = samples["minute"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.0, 4.4), layout="constrained")
        times, memory, files = figure.subplots(3, sharex=True, height_ratios=(2, 1, 1))
        for name, kind, label in (("p99_ms", "hypernet", "99 % within"), ("p50_ms", "library", "median")):
            waited = zip(samples[name], samples["small"], strict=True)
            seconds = [value / 1000 if count else float("nan") for value, count in waited]
            times.plot(minutes, seconds, color=COLORS[kind], linewidth=1.4, label=label)
        times.set_ylabel("seconds")
        times.legend(loc="upper right", ncols=2, frameon=False)
        for axes, name, label in ((memory, "rss_mib", "memory, MiB"), (files, "descriptors", "open files")):
            axes.plot(minutes, samples[name], color=COLORS["hypernet"], linewidth=1.4)
            axes.set_ylabel(label)
        for axes in (times, memory, files):
            axes.set_ylim(0, 1.25 * axes.get_ylim()[1])
        files.set_xlabel("minutes")
        figure.align_ylabels()
        return as_svg(figure, "load")


def _start(row: Row, kind: str) -> str:
    if kind in ("matched", "shuffled"):
        return f"{kind}:hypernet"
    return str(row["best_simple"]) if kind == "simple" else kind


def _mean(row: Row, start: str) -> float:
    return float(row["initializations"][start]["final"]["mean"])


def as_svg(figure: Figure, salt: str) -> str:
    """Return the figure as an SVG element whose size, font and colours are the page's."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = _NAMES.sub("", text[text.index("<svg") :])
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<defs>\s*<style.*?</defs>", "", text, flags=re.DOTALL)  # it would style the whole page
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text)
    text = re.sub(r"font-family: [^;]*; ", "", text)
    for name, color in COLORS.items():
        text = text.replace(color, "currentColor" if name == "text" else f"var(--init-{name})")
    return " ".join(text.split())
