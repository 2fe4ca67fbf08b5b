"""The README's picture: perplexity over the steps of training, on text that the hypernet has never read.

`python -m scripts.readme_picture` draws it, for light and for dark pages, from `cards/results/text.json`.
"""

import io
import json
from collections.abc import Mapping, Sequence
from math import exp
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import matplotlib
from matplotlib.figure import Figure

ROOT: Final = Path(__file__).resolve().parents[1]
RESULT: Final = ROOT / "cards" / "results" / "text.json"
FOLDER: Final = ROOT / "docs" / "pictures"
LABELS: Final = {
    "library": "default initialization",
    "simple": "best simple initialization of each",
    "hypernet": "paramgen's hypernet",
}
THEMES: Final = {
    "light": {"text": "#3b424d", "grid": "#dde2ea", "library": "#7a7f87", "simple": "#c4641a", "hypernet": "#5b3fd6"},
    "dark": {"text": "#c3cad5", "grid": "#333c49", "library": "#a3abb3", "simple": "#f0a65a", "hypernet": "#a795ff"},
}
_TICKS: Final = (6, 8, 10, 15, 20, 30, 40)
_TOP: Final = 45


def curves(rows: Sequence[Mapping[str, Any]], kind: str) -> tuple[list[int], list[list[float]]]:
    """Return the steps, and the perplexity at each of them for every network.

    Args:
        rows: One network each.
        kind: A key of `LABELS`.

    """
    entries = [row["initializations"][row["best_simple"] if kind == "simple" else kind] for row in rows]
    return list(entries[0]["steps"]), [[exp(loss) for loss in entry["curve"]["mean"]] for entry in entries]


def finals(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the geometric mean of the networks' final perplexities, for each kind of initialization."""
    return {
        kind: exp(
            fmean(
                row["initializations"][row["best_simple"] if kind == "simple" else kind]["final"]["mean"]
                for row in rows
            )
        )
        for kind in LABELS
    }


def picture(found: Mapping[str, Any], theme: str) -> str:
    """Return the picture as SVG, in the colours of a theme."""
    colors, rows, ends = THEMES[theme], found["rows"], finals(found["rows"])
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "readme",
        "font.family": "sans-serif",
        "font.size": 14,
        "text.color": colors["text"],
        "axes.labelcolor": colors["text"],
        "xtick.color": colors["text"],
        "ytick.color": colors["text"],
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(6.8, 4.0), layout="constrained")
        axes = figure.subplots()
        for kind, label in LABELS.items():
            steps, each = curves(rows, kind)
            for values in each:
                axes.plot(steps, values, color=colors[kind], linewidth=0.8, alpha=0.35)
            mean = [exp(fmean(row)) for row in _logs(rows, kind)]
            axes.plot(steps, mean, color=colors[kind], linewidth=2.8, linestyle="--" if kind == "library" else "-")
            text: dict[str, Any] = {
                "color": colors[kind],
                "va": "center",
                "textcoords": "offset points",
                "annotation_clip": False,
            }
            axes.annotate(f"{ends[kind]:.1f}", (steps[-1], mean[-1]), xytext=(8, 0), weight="bold", **text)
            place = (steps[1] * 1.1, _TOP / 1.12 / 1.22 ** list(LABELS).index(kind))
            axes.annotate(label, place, xytext=(0, 0), **text)
        _finish(axes, colors, found)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return file.getvalue()


def _logs(rows: Sequence[Mapping[str, Any]], kind: str) -> list[tuple[float, ...]]:
    """Return the losses of all networks, step by step."""
    entries = [row["initializations"][row["best_simple"] if kind == "simple" else kind] for row in rows]
    return list(zip(*(entry["curve"]["mean"] for entry in entries), strict=True))


def _finish(axes: Any, colors: Mapping[str, str], found: Mapping[str, Any]) -> None:
    """Draw axes, grid and title."""
    axes.set_yscale("log")
    axes.set_yticks(_TICKS, [str(tick) for tick in _TICKS])
    axes.minorticks_off()
    axes.set_xticks(range(0, found["steps"] + 1, 100))
    axes.set_xlim(0, found["steps"])
    axes.set_ylim(5.5, _TOP)
    axes.set_xlabel("steps of training")
    axes.set_title("perplexity per byte of Python code (lower is better)", loc="left", fontsize=14)
    axes.grid(axis="y", color=colors["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def main() -> None:
    """Write the picture for light and for dark pages."""
    found = json.loads(RESULT.read_text(encoding="utf-8"))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for theme in THEMES:
        (FOLDER / f"unseen-text-{theme}.svg").write_text(picture(found, theme), encoding="utf-8")


if __name__ == "__main__":
    main()
