"""A recipe: all that initial weights are drawn from, as small JSON, with the digest of what they are to be.

The network is in it as its graph, compressed, with the init program of every slot; so whoever reads a recipe needs
neither the network's library nor anybody's code. Initializer, options, seed and dtype stand beside it. No value of a
weight does: they are drawn again, and compared with the digest.

Everything that is read is hostile until checked: bytes first, then the keys, which are closed, then each value.
"""

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from paramgen.errors import RecipeError, one_line
from paramgen.graphs.analysis.model_families import MODEL_FAMILIES
from paramgen.graphs.graph_json import MAX_GRAPH_BYTES
from paramgen.initializers import Choice
from paramgen.prediction import DTYPES
from paramgen.storage.json_file import MAX_DEPTH, is_deeper, read_json_object

RECIPE: Final = "paramgen_recipe"
"""The key by which a recipe is known, with the version of its format."""

VERSION: Final = 1
MAX_RECIPE_BYTES: Final = 20_000_000
MAX_LINE: Final = 10_000  # characters of a text
MAX_LINES: Final = 1000  # texts of a list, or entries of an object
COMPANION_OPTIONS: Final = ("--tokenizer", "--image-processor")
_ADVICE: Final = "Get it again."
_HEX: Final = frozenset("0123456789abcdef")


@final
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What `paramgen predict --as recipe` writes and `paramgen restore` reads.

    Args:
        graph: The JSON of the network's graph, manifest, init programs and layout.
        init: The initializer as it was requested, with its options and modifiers.
        seed: From 0 to 2**63 - 1.
        dtype: Of floating-point slots; None: as the network has them.
        initializer: What identifies it: which one was chosen, and the sha256 of hypernets that it reads.
        requested: What was typed, as paramgen.json keeps it.
        notes: What was decided about the network without having been requested, in sentences.
        trace_failures: Why each tracing backend failed that was tried before the one that made the graph.
        companions: The sha256 of each file of a tokenizer or an image processor beside the weights, by name.
        elements: Of all tensors.
        tensors: Number of tensors that are stored.
        sha256: Of all of them together, as `tensors_sha256` has it.
        versions: Of paramgen, torch and the network's library, where the digest was computed.
        machine: The kind of processor there.

    """

    graph: str
    init: str
    seed: int
    dtype: str | None
    initializer: Mapping[str, Any]
    requested: Mapping[str, Any]
    notes: tuple[str, ...]
    trace_failures: tuple[str, ...]
    companions: Mapping[str, str]
    elements: int
    tensors: int
    sha256: str
    versions: Mapping[str, str]
    machine: str

    @property
    def choice(self) -> Choice | None:
        """Which initializer was chosen for the network and why; None where the request named it."""
        if "resolved" not in self.initializer:
            return None
        return Choice(**{"init" if key == "resolved" else key: self.initializer[key] for key in _CHOICE})

    @property
    def companion_files(self) -> dict[str, str]:
        """The name of the tokenizer and of the image processor beside the weights, by option."""
        return {option: name for option, name in self.requested["companion_files"]}

    def to_json(self) -> dict[str, Any]:
        """Return the object that the file holds, the readable entries first."""
        return {
            RECIPE: VERSION,
            "init": self.init,
            "seed": self.seed,
            "dtype": self.dtype,
            "requested": dict(self.requested),
            "initializer": dict(self.initializer),
            "notes": list(self.notes),
            "trace_failures": list(self.trace_failures),
            "companions": dict(self.companions),
            "elements": self.elements,
            "tensors": self.tensors,
            "sha256": self.sha256,
            "versions": dict(self.versions),
            "machine": self.machine,
            "graph": b64encode(zlib.compress(self.graph.encode(), 9)).decode(),
        }

    def to_text(self) -> str:
        """Return the file's content."""
        return json.dumps(self.to_json(), indent=1) + "\n"


_CHOICE: Final = ("resolved", "family", "reason")


def read_recipe(file: Path) -> Recipe:
    """Return the recipe in a file.

    Raises:
        RecipeError: It cannot be read, is too large, or holds no recipe.

    """
    found = read_json_object(file, most=MAX_RECIPE_BYTES, error=RecipeError, advice=_ADVICE)
    try:
        return recipe_from_data(found)
    except RecipeError as error:
        raise RecipeError(f"{file} is refused: {error.message}") from error


def recipe_from_data(data: object) -> Recipe:
    """Return the recipe that a JSON value holds.

    Raises:
        RecipeError: It is none, of another version, or breaks a limit.

    """
    if not isinstance(data, dict) or RECIPE not in data:
        raise RecipeError(f"It is no recipe: the key {RECIPE!r} is missing. {_ADVICE}")
    if type(data[RECIPE]) is not int or data[RECIPE] != VERSION:
        raise RecipeError(f"A recipe of version {one_line(repr(data[RECIPE]))}; this paramgen reads {VERSION}.")
    names = {RECIPE, *Recipe.__dataclass_fields__}
    if odd := sorted(names ^ set(data)):
        raise RecipeError(f"A recipe has {len(names)} keys; missing or unknown: {one_line(', '.join(odd))}. {_ADVICE}")
    if is_deeper(data, MAX_DEPTH):
        raise RecipeError(f"A recipe is nested at most {MAX_DEPTH} deep.")
    seed, dtype = _count(data["seed"], "seed"), data["dtype"]
    if dtype is not None and (not isinstance(dtype, str) or dtype not in DTYPES):
        raise RecipeError(f"Its dtype is {one_line(repr(dtype))}. Allowed: {', '.join(DTYPES)}, or null.")
    return Recipe(
        graph=_graph(data["graph"]),
        init=_text(data["init"], "init"),
        seed=seed,
        dtype=dtype,
        initializer=_initializer(data["initializer"]),
        requested=_requested(data["requested"]),
        notes=_texts(data["notes"], "notes"),
        trace_failures=_texts(data["trace_failures"], "trace_failures"),
        companions={name: _digest(each, name) for name, each in _object(data["companions"], "companions").items()},
        elements=_count(data["elements"], "elements"),
        tensors=_count(data["tensors"], "tensors"),
        sha256=_digest(data["sha256"], "sha256"),
        versions={name: _text(each, name) for name, each in _object(data["versions"], "versions").items()},
        machine=_text(data["machine"], "machine"),
    )


def _graph(value: object) -> str:
    """Return the text of the compressed graph; no more than a graph may have is ever decompressed."""
    if not isinstance(value, str):
        raise RecipeError(f"Its graph is no text. {_ADVICE}")
    unpacking = zlib.decompressobj()
    try:
        content = unpacking.decompress(b64decode(value, validate=True), MAX_GRAPH_BYTES)
        text = content.decode("utf-8")
    except (ValueError, zlib.error) as error:
        raise RecipeError(f"Its graph is damaged: {one_line(error)}. Get it again.") from error
    if not unpacking.eof or unpacking.unused_data:
        raise RecipeError(f"Its graph is cut off, or has more than {MAX_GRAPH_BYTES:,} bytes. Get it again.")
    return text


def _initializer(value: object) -> dict[str, Any]:
    found = _object(value, "initializer")
    if "resolved" in found:
        if not {*_CHOICE} <= found.keys() or found["family"] not in MODEL_FAMILIES:
            raise RecipeError(f"Its initializer was chosen, but not as paramgen does it. {_ADVICE}")
        for key in _CHOICE:
            _text(found[key], key)
    return found


def _requested(value: object) -> dict[str, Any]:
    found = _object(value, "requested")
    names = {"arch", "overrides", "example_input", "max_shard", "companion_files"}
    if found.keys() != names:
        raise RecipeError(f"Its 'requested' has the keys {', '.join(sorted(names))}, and no others. {_ADVICE}")
    for key in ("arch", "example_input"):
        if found[key] is not None:
            _text(found[key], key)
    _object(found["overrides"], "overrides")
    if type(found["max_shard"]) is not int:
        _text(found["max_shard"], "max_shard")
    pairs = found["companion_files"]
    good = isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
    if not good or len(pairs) != len({_text(option, "option") for option, _ in pairs} & {*COMPANION_OPTIONS}):
        raise RecipeError(f"Its 'companion_files' are pairs of {' or '.join(COMPANION_OPTIONS)} and a name. {_ADVICE}")
    for _, name in pairs:
        _text(name, "companion_files")
    return found


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > MAX_LINES:
        raise RecipeError(f"Its {what!r} is no object of at most {MAX_LINES:,} entries. {_ADVICE}")
    return value


def _texts(value: object, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_LINES:
        raise RecipeError(f"Its {what!r} is no list of at most {MAX_LINES:,} texts. {_ADVICE}")
    return tuple(_text(each, what) for each in value)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_LINE:
        raise RecipeError(f"Its {one_line(what)!r} is no text of at most {MAX_LINE:,} characters. {_ADVICE}")
    return value


def _count(value: object, what: str) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise RecipeError(f"Its {what!r} is no number from 0 to 2**63 - 1. {_ADVICE}")
    return value


def _digest(value: object, what: str) -> str:
    if not isinstance(value, str) or len(value) != 64 or not _HEX.issuperset(value):
        raise RecipeError(f"Its {one_line(what)!r} is no sha256 of 64 hexadecimal digits. {_ADVICE}")
    return value
