"""Limits for the values of an architecture's config, checked before a library builds anything.

A library takes minutes, or all memory, until it fails at a hundred million layers, and builds a network of minus three
labels without a word. Whoever hands values of somebody's to a library calls `refuse_config` first: names, `--set`, and
config files alike. All bounds are here. They are far above what networks have: every default of transformers and
diffusers passes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from paramgen.errors import OptionError, one_line

MAX_CLASSES: Final = 1_000_000  # each becomes a line of config.json
MAX_LAYERS: Final = 2_000  # all blocks of a network together; each is built one after the other
MAX_EXPERTS: Final = 16_384  # of a layer
MAX_HEADS: Final = 65_536
MAX_SIZE: Final = 1_000_000_000  # a width, a vocabulary, a number of positions
MAX_MODULES: Final = 1_000_000  # layers times experts
MAX_IMAGE_SIZE: Final = 16_384  # pixels of an edge
MAX_NETWORK_ELEMENTS: Final = 10**13  # of all weights together, as far as the config says; twenty terabytes
MAX_NESTING: Final = 8  # configs inside each other


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Bound:
    """What the values of all keys that fit a pattern may be."""

    keys: re.Pattern[str]
    least: int
    most: int
    whole: bool = False  # whether anything but a whole number is wrong; else the library has the say
    total: bool = False  # whether the entries of a list count together
    called: str = ""  # in words, where the key is not the same everywhere

    def refuse(self, key: str, value: Any, what: str) -> None:
        """Raise an error for a value, or the entry of a list, that is out of bounds."""
        entries = list(_entries(value))
        for entry in entries:
            if self._wrong(entry):
                raise OptionError(self._message(key, entry, what))
        if self.total and (sum(map(int, filter(_is_number, entries))) > self.most or len(entries) > self.most):
            raise OptionError(self._message(key, value, what))

    def _wrong(self, entry: Any) -> bool:
        if _is_number(entry):
            return not (self.least <= entry <= self.most and (not self.whole or entry == int(entry)))
        return self.whole and entry is not None and not isinstance(entry, Mapping)

    def _message(self, key: str, value: Any, what: str) -> str:
        together = " in all" if self.total and isinstance(value, (list, tuple)) else ""
        much = isinstance(value, (list, tuple)) or (_is_number(value) and value > self.most)
        advice = f"{self.most}, or less" if much else f"{max(self.least, 1)}, or more"
        return (
            f"{what} has {self.called or key} {one_line(value)}; allowed are whole numbers from {self.least} to "
            f"{self.most:,}{together}. Type: --set {key}={advice}"
        )


def _keys(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


# The first that fits a key counts.
_BOUNDS: Final = (
    _Bound(keys=_keys("image_size|img_size"), least=1, most=MAX_IMAGE_SIZE, called="the image size"),
    _Bound(keys=_keys("num_labels"), least=1, most=MAX_CLASSES, whole=True),
    _Bound(
        keys=_keys("num_classes|n_classes"), least=0, most=MAX_CLASSES, whole=True
    ),  # 0 is timm's way to say: no head
    _Bound(keys=_keys("n_layers?|num_layers|num_hidden_layers|depth"), least=0, most=MAX_LAYERS, whole=True),
    _Bound(
        keys=_keys(r"depths|layers|layers_per_block|(?:\w+_)?num_layers|(?:\w+_)?layers_per_\w+"),
        least=0,
        most=MAX_LAYERS,
        total=True,
    ),
    _Bound(
        keys=_keys(r"(?:n|num)_(?:\w+_)?(?:layers|blocks|stages|repeats)|(?:\w+_)?(?:layers|depths?)"),
        least=0,
        most=MAX_LAYERS,
    ),
    _Bound(keys=_keys(r"(?:\w+_)?experts"), least=0, most=MAX_EXPERTS),
    _Bound(keys=_keys(r"(?:\w+_)?heads|n_head|num_head"), least=1, most=MAX_HEADS),
    _Bound(
        keys=_keys(
            "vocab_size|hidden_sizes?|n_embd|d_model|d_ff|d_kv|embed_dims?|embedding_size|intermediate_size|n_inner"
            "|num_channels|in_chans|in_channels|out_channels|block_out_channels|channels|patch_size|n_positions|n_ctx"
            "|max_position_embeddings"
        ),
        least=1,
        most=MAX_SIZE,
    ),
    _Bound(
        keys=_keys(r"(?:\w+_)?(?:vocab_size|dims?|channels|widths?|embeddings|embd|features)"), least=0, most=MAX_SIZE
    ),
    _Bound(keys=_keys(r"(?:\w+_)?sizes?|(?:n|num|max)_\w+"), least=-1, most=MAX_SIZE),
)
# Under which of these names a config says how large it is, for the estimate.
_LAYERS: Final = (
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "depth",
    "num_decoder_layers",
    "decoder_layers",
)
_WIDTHS: Final = ("hidden_size", "n_embd", "d_model", "embed_dim", "dim")
_UNITS: Final = ("moe_intermediate_size", "intermediate_size", "n_inner", "d_ff", "ffn_dim")
_EXPERTS: Final = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


def refuse_config(values: Mapping[str, Any], what: str) -> None:
    """Raise an `OptionError` of one line for the first value that no network has, or if all of it would be too large.

    Args:
        values: By key, as `--set` takes them: dots, or mappings, reach into nested configs.
        what: The network, for the message.

    """
    for key, value in leaves(values):
        bound = next((bound for bound in _BOUNDS if bound.keys.fullmatch(key.rpartition(".")[2].lower())), None)
        if bound is not None:
            bound.refuse(key, value, what)
    elements = sum(_elements(part, what) for part in _parts(values))
    if elements > MAX_NETWORK_ELEMENTS:
        raise OptionError(
            f"{what} would have some {elements:.1e} weights by its config; allowed are {MAX_NETWORK_ELEMENTS:.0e}. "
            "Type smaller sizes, as in --set hidden_size=768"
        )


def _elements(config: Mapping[str, Any], what: str) -> int:
    """Return about how many weights the network of a config has: blocks of attention and units, and rows of tokens."""
    layers, width, experts = (_first(config, names) for names in (_LAYERS, _WIDTHS, _EXPERTS))
    units = _first(config, _UNITS) or 4 * width
    if layers * experts > MAX_MODULES:
        raise OptionError(
            f"{what} has {layers:,} layers of {experts:,} experts; allowed are {MAX_MODULES:,} experts in all. Type "
            "fewer, as in --set num_experts=64"
        )
    return layers * (4 * width * width + 2 * width * units * max(1, experts)) + width * _first(config, ("vocab_size",))


def _first(config: Mapping[str, Any], names: Sequence[str]) -> int:
    found = (config.get(name) for name in names)
    return next((value for value in found if type(value) is int), 0)


def leaves(values: Mapping[Any, Any], before: str = "", depth: int = MAX_NESTING) -> Iterator[tuple[str, Any]]:
    """Yield every value that is no config itself, by its key with dots."""
    for key, value in values.items():
        if not isinstance(value, Mapping):
            yield f"{before}{key}", value
        elif depth > 0:
            yield from leaves(value, f"{before}{key}.", depth - 1)


def _parts(values: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the values of each config apart."""
    parts: dict[str, dict[str, Any]] = {}
    for key, value in leaves(values):
        config, _, leaf = key.rpartition(".")
        parts.setdefault(config, {})[leaf] = value
    yield from parts.values()


def _entries(value: Any, depth: int = MAX_NESTING) -> Iterator[Any]:
    """Yield a value, or the entries of lists in lists."""
    if isinstance(value, (list, tuple)):
        for entry in value if depth > 0 else ():
            yield from _entries(entry, depth - 1)
    else:
        yield value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
