"""The sizes of a language model, read from its configuration; values that are no sizes are refused."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from paramgen.errors import OptionError
from paramgen.language.families import FAMILIES, Family

MAX_LANGUAGE_SIZE: Final = 1 << 31
_TIED: Final = "tie_word_embeddings"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of a language model; keys and values have `shared_heads` heads, queries `heads`."""

    width: int
    layers: int
    heads: int
    shared_heads: int
    head_width: int
    units: int
    vocabulary: int
    positions: int
    types: int
    tied: bool


def family_of(config: Mapping[str, Any], what: str) -> Family:
    """Return the family of a configuration of transformers.

    Raises:
        OptionError: There is no table for it.

    """
    family = FAMILIES.get(str(config.get("model_type")))
    classes = config.get("architectures") or [None]
    architecture = classes[0] if isinstance(classes, list) else None
    if family is None or architecture not in (family.architecture, None):
        known = ", ".join(each.architecture for each in FAMILIES.values())
        raise OptionError(
            f"{what} is {architecture or config.get('model_type') or 'no language model'}. Known: {known}."
        )
    return family


def sizes_of(family: Family, config: Mapping[str, Any], what: str) -> Sizes:
    """Return the sizes in a configuration that transformers has completed.

    Raises:
        OptionError: A size is missing, out of range or no multiple of another that it must be a multiple of.

    """
    found: dict[str, int] = {}
    for size, key in family.sizes.items():
        value = config.get(key)
        if size == "units" and value is None:
            value = 4 * found["width"]  # GPT-2's `n_inner`
        if type(value) is not int or not 0 < value < MAX_LANGUAGE_SIZE:
            raise OptionError(f"{what} has {key} {value!r}; allowed are whole numbers from 1. Get another config.json.")
        found[size] = value
    heads = found["heads"]
    found.setdefault("shared_heads", heads)
    found.setdefault("head_width", found["width"] // heads)
    found.setdefault("types", 1)
    keys = family.sizes
    if "head_width" not in keys and found["width"] % heads:
        raise OptionError(f"{what} has {keys['width']} {found['width']}, no multiple of {keys['heads']} {heads}.")
    if heads % found["shared_heads"]:
        raise OptionError(f"{what} has {heads} heads, no multiple of {keys['shared_heads']} {found['shared_heads']}.")
    return Sizes(**found, tied=bool(config.get(_TIED)))


def refuse_other(family: Family, before: Mapping[str, Any], now: Mapping[str, Any], what: str) -> None:
    """Raise OptionError if the two configurations compute different functions of equal weights."""
    for key in family.same:
        if before.get(key) != now.get(key):
            raise OptionError(
                f"{what} has {key} {before.get(key)!r}, the larger model {now.get(key)!r}: it would compute something "
                f"else. Give both the same{_typed(key, before.get(key))}"
            )


def _typed(key: str, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f": --set '{key}={text}'"
