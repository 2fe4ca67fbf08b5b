"""The signals of a diagnosis layer by layer, drawn by matplotlib: a panel a figure, a curve an initialization."""

from typing import Any, Final

from paramgen.comparison.curves import CURVE_COLOURS, STYLES, figure_of, svg_of
from paramgen.diagnosis.outcome import Diagnosis

_PANELS: Final = (
    ("square", "mean square of the values", True),
    ("gradient", "squared gradient", True),
    ("correlation", "cosine of two inputs", False),
)


def svg(diagnosis: Diagnosis) -> str:
    """Return three panels as an SVG element; an empty text where the signal was not measured."""
    results = [(init, diagnosis.of(init, "signal")) for init in diagnosis.inits]
    profiles = [(init, each.profile) for init, each in results if each is not None and each.profile is not None]
    if not profiles:
        return ""
    with figure_of(len(_PANELS), extra="pictures") as (figure, panels):
        for panel, (name, label, logarithmic) in zip(panels, _PANELS, strict=True):
            for init, profile in profiles:
                _draw(panel, diagnosis.inits.index(init), init, profile.values[name], logarithmic=logarithmic)
            panel.set_xlabel("layer, in the order of the forward pass")
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.set_ylabel(label)
            if logarithmic:
                panel.set_yscale("log")
            else:
                panel.set_ylim(top=1.02)
        panels[0].legend(frameon=False, loc="best")
        return svg_of(figure)


def _draw(panel: Any, index: int, init: str, values: tuple[float | None, ...], *, logarithmic: bool) -> None:
    """Join what is known: a layer without a gradient cannot be on a logarithmic scale."""
    shown = [
        (layer, value)
        for layer, value in enumerate(values, 1)
        if value is not None and not (logarithmic and value <= 0)
    ]
    colour, line = CURVE_COLOURS[index % len(CURVE_COLOURS)], STYLES[index // len(CURVE_COLOURS) % len(STYLES)]
    panel.plot(
        [layer for layer, _ in shown],
        [value for _, value in shown],
        line,
        color=colour,
        linewidth=1.8,
        marker="o",
        markersize=2.5,
        label=init,
    )
