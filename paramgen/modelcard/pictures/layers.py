"""The layers of a folder in the order of the network, each of a kind that its name and shape tell."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, final

from paramgen.storage.reading import Stored

LayerKind = Literal["attention", "linear", "convolution", "table"]
KIND_COLOURS: Final[dict[LayerKind, str]] = {
    "attention": "#e8743b",
    "linear": "#7c5cf0",
    "convolution": "#3b82f6",
    "table": "#12a383",
}
"""Those of the graph's picture."""

WORDS: Final[dict[LayerKind, str]] = {
    "attention": "attention",
    "linear": "linear layers",
    "convolution": "convolutions",
    "table": "embeddings and tables",
}
MAX_LAYER_LABEL: Final = 16
_NUMBER: Final = re.compile(r"(\d+)")
_TABLE: Final = re.compile(r"embed|token|(^|[._])(pos|wte|wpe)|position|table", re.IGNORECASE)
_MAP: Final = re.compile(r"linear|proj|dense|mlp|expert", re.IGNORECASE)
_ATTENTION: Final = re.compile(
    r"attn|attention|qkv|to_[qkv]|to_out|(^|\.)(q|k|v|o|query|key|value)(_proj|_lin)?(\.|$)", re.IGNORECASE
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A weight of two dimensions or more."""

    stored: Stored
    kind: LayerKind

    @property
    def block(self) -> str:
        """The part of the network that it stands in: its name up to the first number or, without one, two words."""
        words = self.stored.name.split(".")
        numbers = (place + 1 for place, word in enumerate(words[:-1]) if word.isdecimal())
        return ".".join(words[: next(numbers, min(2, len(words) - 1))])


def layers_of(entries: Sequence[Stored], order: Sequence[str]) -> list[Layer]:
    """Return the weights among the stored tensors that are more than vectors.

    Args:
        entries: What is stored.
        order: The names as the network has them; of a folder that does not say, names are sorted with their numbers.

    """
    places = {name: place for place, name in enumerate(order)}
    wide = [entry for entry in entries if entry.dtype.is_floating_point and entry.dtype.itemsize > 1]
    found = [entry for entry in wide if len(entry.shape) >= 2 and entry.elements > max(entry.shape, default=0)]
    found.sort(key=lambda entry: (places.get(entry.name, len(places)), _natural(entry.name)))
    return [Layer(stored=entry, kind=kind_of(entry.name, entry.shape)) for entry in found]


def evenly(layers: Sequence[Layer], most: int) -> list[Layer]:
    """Return at most so many of the layers, at even distances, the first and the last among them."""
    if len(layers) <= most:
        return list(layers)
    return [layers[round(place * (len(layers) - 1) / max(1, most - 1))] for place in range(most)]


def label(name: str) -> str:
    """Return the end of a name, in letters that every font has."""
    shown = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in name)
    end = ".".join(shown.split(".")[-2:])
    return end if len(end) <= MAX_LAYER_LABEL else f"...{end[3 - MAX_LAYER_LABEL :].lstrip('.')}"


def kind_of(name: str, shape: Sequence[int]) -> LayerKind:
    """Return the kind of a weight of two dimensions or more."""
    if len(shape) >= 4:
        return "convolution"
    if _TABLE.search(name) and not _MAP.search(name):
        return "table"
    if _ATTENTION.search(name):
        return "attention"
    return "convolution" if len(shape) == 3 and not _MAP.search(name) else "linear"


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (0, part) for part in _NUMBER.split(name)[:99]]
