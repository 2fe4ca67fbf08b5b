"""A language model's config follows the tokenizer whose tokens the network is to read.

Its vocabulary is as large as the tokenizer's, and what begins, ends and pads a text is what the tokenizer uses for it.
Values that were typed stay as they are.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from paramgen.architectures.config_limits import leaves

VOCABULARY_KEY: Final = "vocab_size"
SPECIAL: Final = ("bos_token_id", "eos_token_id", "pad_token_id")
PADDING: Final = 1_024
"""Rows that the table of a config.json may have beyond the tokenizer's: to a round number, as many have."""

_PARTS: Final = ("", "text_config", "decoder")  # where a config may have the vocabulary that a tokenizer is for


@final
@dataclass(frozen=True, kw_only=True)
class TokenizerVocabulary:
    """What a config takes from a tokenizer: its name, how many rows a table of its tokens has, and special ones."""

    name: str
    rows: int
    special: Mapping[str, int | None]


def tables_of(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return each config with a vocabulary that a tokenizer is for, by the prefix of its keys."""
    parts = {f"{part}." if part else "": config if not part else config.get(part) or {} for part in _PARTS}
    return {before: part for before, part in parts.items() if type(part.get(VOCABULARY_KEY)) is int}


def changes(
    config: Mapping[str, Any], tokens: TokenizerVocabulary, *, typed: Collection[str], own_file: bool
) -> dict[str, Any]:
    """Return the entries that are to follow the tokenizer, by their keys with dots.

    Args:
        config: All of it, as the library completes it.
        tokens: Of the tokenizer.
        typed: Keys that somebody typed, which are left alone.
        own_file: Whether the config is somebody's file: its vocabulary may be padded.

    """
    return {
        f"{before}{key}": value
        for before, table in tables_of(config).items()
        for key, value in _wanted(table, tokens, own_file)
        if f"{before}{key}" not in typed
    }


def typed_keys(overrides: Mapping[str, Any]) -> frozenset[str]:
    """Return the keys of what was typed, with dots."""
    return frozenset(key for key, _ in leaves(overrides))


def note(config: Mapping[str, Any], found: Mapping[str, Any], tokens: TokenizerVocabulary) -> str:
    """Say in a sentence what follows the tokenizer, and what it was before."""
    words = []
    for key, value in found.items():
        part, _, leaf = key.rpartition(".")
        before = (config.get(part) or {} if part else config).get(leaf)
        words.append(f"{key} {_shown(value)} (was {_shown(before)})")
    return f"the config follows the tokenizer {tokens.name}: {', '.join(words)}"


def _wanted(table: Mapping[str, Any], tokens: TokenizerVocabulary, own_file: bool) -> Iterator[tuple[str, int | None]]:
    rows = table[VOCABULARY_KEY]
    if rows != tokens.rows and not (own_file and tokens.rows < rows < tokens.rows + PADDING):
        yield VOCABULARY_KEY, tokens.rows
    for key in SPECIAL:
        had, has = table.get(key), tokens.special.get(key)
        several = isinstance(had, (list, tuple)) and has in had
        if key in table and had != has and not several:
            yield key, has


def _shown(value: Any) -> str:
    return "none" if value is None else f"{value:,}" if type(value) is int else str(value)
