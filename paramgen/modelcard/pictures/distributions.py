"""Where the values of each layer lie, along the depth: a column for each, darker where more of its values are."""

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from paramgen._optional import require
from paramgen.modelcard.pictures.canvas import EXTRA, INK, sheet
from paramgen.modelcard.pictures.layers import KIND_COLOURS, WORDS, Layer, evenly, label

MAX_SHOWN_LAYERS: Final = 320
SAMPLE: Final = 1 << 15  # values of a layer
SHARES: Final = (0.998, 0.98, 0.90, 0.70, 0.50, 0.25)
"""Of the values, inside each band, from the outermost; the median is the middle."""

_TICK: Final = 0.3  # inches that a label needs along the axis
_WIDE: Final = 6.0  # the widest layer over the narrowest that a linear axis still shows


def distributions(layers: Sequence[Layer]) -> bytes:
    """Return the picture as PNG."""
    shown = evenly(layers, MAX_SHOWN_LAYERS)
    bands = torch.stack([bands_of(layer.stored.sampled(SAMPLE)) for layer in shown])  # (layers, bands + 1 + bands)
    width = min(14.0, max(7.6, 2.2 + 0.16 * len(shown)))
    count = f"{len(layers):,}" if len(shown) == len(layers) else f"{len(shown):,} of {len(layers):,}"
    subtitle = f"{count} layers from input to output; bands hold 25 to 99.8 % of the values, white is the median"
    with sheet(width, 4.6, "Weights of each layer along the depth", subtitle) as (figure, content):
        panel = figure.subplots()
        for kind, colour in KIND_COLOURS.items():
            places = [place for place, layer in enumerate(shown) if layer.kind == kind]
            if places:
                _columns(panel, places, bands[places], colour)
                panel.plot([], [], color=colour, linewidth=7, solid_capstyle="butt", label=WORDS[kind])
        _scale(panel, bands)
        _blocks(panel, shown, apart=_TICK * len(shown) / (width - 1.3))
        figure.legend(loc="outside lower center", ncols=len(KIND_COLOURS), frameon=False, handlelength=0.9)
    return content.getvalue()


def bands_of(values: Tensor) -> Tensor:
    """Return the edges of all bands, from the lowest: the lower ones, the median, the upper ones."""
    tails = torch.tensor([(1 - share) / 2 for share in SHARES], dtype=torch.float64)
    places = torch.cat([tails, torch.tensor([0.5], dtype=torch.float64), (1 - tails).flip(0)])
    finite = values.double()[values.isfinite()]
    return torch.quantile(finite, places) if len(finite) else torch.zeros(len(places), dtype=torch.float64)


def _columns(panel: Any, places: list[int], bands: Tensor, colour: str) -> None:
    count = len(SHARES)
    for step in range(count):
        low, high = bands[:, step], bands[:, -1 - step]
        panel.bar(
            places, (high - low).tolist(), bottom=low.tolist(), width=0.84, color=colour,
            alpha=0.13 + 0.07 * step, linewidth=0,
        )  # fmt: skip
    median = bands[:, count].tolist()
    edges = [place - 0.42 for place in places], [place + 0.42 for place in places]
    panel.hlines(median, *edges, color="white", linewidth=1.0)
    flat = [place for place, low, high in zip(places, bands[:, 0], bands[:, -1], strict=True) if low == high]
    values = [float(bands[places.index(place), 0]) for place in flat]
    panel.hlines(values, [p - 0.42 for p in flat], [p + 0.42 for p in flat], color=colour, linewidth=2.0)


def _scale(panel: Any, bands: Tensor) -> None:
    reach = bands[:, (0, -1)].abs().amax(1)
    spread = reach[reach > 0]
    if len(spread) and float(spread.max() / spread.quantile(0.5)) > _WIDE:
        panel.set_yscale("asinh", linear_width=float(spread.quantile(0.5)) / 2)
        ticker = require("matplotlib.ticker", extra=EXTRA)
        panel.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    panel.axhline(0, color=INK, linewidth=0.6, alpha=0.35)
    panel.use_sticky_edges = False
    panel.margins(y=0.05)
    panel.set_ylabel("value")


def _blocks(panel: Any, shown: Sequence[Layer], *, apart: float) -> None:
    """Shade every other block and name those that are `apart` columns from the last named one."""
    panel.set_xlim(-0.9, len(shown) - 0.1)
    starts = [place for place, layer in enumerate(shown) if place == 0 or layer.block != shown[place - 1].block]
    blocks = list(zip(starts, [*starts[1:], len(shown)], strict=True))
    for start, end in blocks[1::2]:
        panel.axvspan(start - 0.5, end - 0.5, color="#f3f5f8", linewidth=0, zorder=-5)
    middles: list[float] = []
    labels = []
    for start, end in blocks:
        middle = (start + end - 1) / 2
        if not middles or middle - middles[-1] >= apart:
            middles.append(middle)
            labels.append(label(shown[start].block))
    panel.set_xticks(middles, labels, rotation=38, ha="right", rotation_mode="anchor", fontsize=8)
    panel.tick_params(axis="x", length=0)
