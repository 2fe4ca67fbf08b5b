"""What each layer stretches: its singular values over their rank, a curve for each, coloured by depth."""

from collections.abc import Sequence
from typing import Any, Final

from torch import Tensor

from paramgen._optional import require
from paramgen.modelcard.pictures.canvas import EXTRA, FAINT, sheet
from paramgen.modelcard.pictures.layers import WORDS, Layer, LayerKind, evenly
from paramgen.modelcard.pictures.spectrum import RANKS, spectrum

MAX_CURVES: Final = 24  # of a kind
LARGEST: Final = 1 << 26  # elements of one matrix
BUDGET: Final = 1 << 28  # elements of all of them
_KINDS: Final[tuple[LayerKind, ...]] = ("attention", "linear", "convolution")
_FLOOR: Final = 1e-2
_TALL: Final = 5.0  # times the root mean square that a linear axis still shows


def spectra(layers: Sequence[Layer]) -> bytes | None:
    """Return the picture as PNG; None where no layer is a matrix."""
    curves = {kind: _curves(layers, kind) for kind in _KINDS}
    drawn = {kind: found for kind, found in curves.items() if found}
    if not drawn:
        return None
    subtitle = "of each layer over their root mean square, from the largest to the smallest"
    with sheet(max(5.6, 3.6 * len(drawn) + 1.2), 4.2, "Singular values", subtitle) as (figure, content):
        panels = figure.subplots(1, len(drawn), squeeze=False, sharey=True)[0]
        tallest = max(round(float(curve.max()), 4) for found in drawn.values() for _, curve in found)
        for panel, (kind, found) in zip(panels, drawn.items(), strict=True):
            _draw(panel, found, tallest)
            total = sum(_is_matrix(layer, kind) for layer in layers)
            count = f"{len(found):,}" if len(found) == total else f"{len(found):,} of {total:,}"
            panel.set_title(f"{WORDS[kind]} ({count})", loc="left", fontsize=10)
        _scale(figure, panels)
    return content.getvalue()


def _is_matrix(layer: Layer, kind: LayerKind) -> bool:
    """Whether a layer maps vectors to vectors; a depthwise convolution maps each channel on its own."""
    shape = layer.stored.shape
    return layer.kind == kind and not (kind == "convolution" and shape[1] == 1)


def _curves(layers: Sequence[Layer], kind: LayerKind) -> list[tuple[float, Tensor]]:
    """Return depth, from 0 to 1, and curve of some layers of a kind."""
    depths = {layer.stored.name: place / max(1, len(layers) - 1) for place, layer in enumerate(layers)}
    able = [layer for layer in layers if _is_matrix(layer, kind) and layer.stored.elements <= LARGEST]
    chosen = evenly(able, MAX_CURVES)
    while len(chosen) > 1 and sum(layer.stored.elements for layer in chosen) > BUDGET // len(_KINDS):
        chosen = evenly(able, len(chosen) - 1)
    found = ((layer.stored.name, spectrum(layer.stored.tensor().flatten(1))) for layer in chosen)
    return [(depths[name], curve) for name, curve in found if curve is not None]


def _draw(panel: Any, curves: Sequence[tuple[float, Tensor]], tallest: float) -> None:
    log = tallest > _TALL
    colours = require("matplotlib", extra=EXTRA).colormaps["viridis"]
    ranks = [rank / (RANKS - 1) for rank in range(RANKS)]
    for depth, curve in curves:
        values = curve.clamp(min=_FLOOR) if log else curve
        # Their last digits depend on where in memory a matrix lies; what is drawn must not.
        panel.plot(ranks, values.round(decimals=4).tolist(), color=colours(0.92 * depth), linewidth=1.5, alpha=0.9)
    panel.set_xlim(0, 1)
    panel.set_xticks([0, 0.5, 1], ["largest", "middle", "smallest"], fontsize=8)
    for place, text in zip(("left", "center", "right"), panel.get_xticklabels(), strict=True):
        text.set_ha(place)
    if log:
        panel.set_yscale("log")
    else:
        panel.set_ylim(0, 1.06 * max(tallest, 1.2))


def _scale(figure: Any, panels: Any) -> None:
    """Draw the scale of colours, from the first layer to the last."""
    matplotlib = require("matplotlib", extra=EXTRA)
    colors = require("matplotlib.colors", extra=EXTRA)
    cm = require("matplotlib.cm", extra=EXTRA)
    shades = colors.LinearSegmentedColormap.from_list(
        "depth", [matplotlib.colormaps["viridis"](0.92 * step / 64) for step in range(65)]
    )
    bar = figure.colorbar(cm.ScalarMappable(cmap=shades), ax=panels, pad=0.02, aspect=28)
    bar.outline.set_visible(False)
    bar.set_ticks([0, 1], labels=["input", "output"], fontsize=8, color=FAINT)
    bar.ax.tick_params(length=0)
