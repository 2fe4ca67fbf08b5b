"""The tokenizer that a named language model reads: an alias knows its repository, and `org/model` has its own.

Nothing is fetched unless an initializer needs it, and then files alone, of one commit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from paramgen.architectures import read_config
from paramgen.architectures.followed import VOCABULARY_KEY, tables_of
from paramgen.architectures.processors import read_tokenizer
from paramgen.architectures.repository import is_repository
from paramgen.errors import OptionError
from paramgen.registry.aliases import TOKENIZERS
from paramgen.registry.overrides import split_spec

NONE: Final = "none"
"""What is typed for a tokenizer where none is to be read."""

LEFT_OUT: Final = "the tokenizer of"
"""How a note begins that says that a tokenizer could not be had."""


def tokenizer_known_for(arch: str, overrides: Mapping[str, Any]) -> str | None:
    """Return the repository of a named model's tokenizer, `@` its commit; None where none is known.

    A model whose vocabulary was set to another size reads other tokens.
    """
    name, given = split_spec(arch)
    if VOCABULARY_KEY in given or VOCABULARY_KEY in overrides:
        return None
    return TOKENIZERS.get(name) or (name if is_repository(name) else None)


@final
@dataclass(frozen=True, kw_only=True)
class OwnTokenizer:
    """A tokenizer that was fetched, or a note on why it was not."""

    name: str | None = None  # its repository, `@` the commit
    reader: Any = None
    note: str = ""


def fetched_tokenizer(arch: str, overrides: Mapping[str, Any]) -> OwnTokenizer:
    """Return the tokenizer of a named language model, from the cache or the Hub; without a name where it has none."""
    known = tokenizer_known_for(arch, overrides)
    if known is None:
        return OwnTokenizer()
    repo, _, revision = known.partition("@")
    if arch.partition("?")[0] not in TOKENIZERS:
        revision = _commit(repo, revision)
    if not revision:
        return OwnTokenizer()
    try:
        return OwnTokenizer(name=f"{repo}@{revision}", reader=read_tokenizer(f"{repo}@{revision}"))
    except OptionError as error:
        why = error.message.partition(" Type: ")[0].rstrip(".")
        note = f"{LEFT_OUT} {repo} is left out: {why}. To name another one, type: --tokenizer FOLDER"
        return OwnTokenizer(note=note)


def _commit(repo: str, revision: str) -> str:
    """Return the commit of a language model's config.json; empty for what is none, or is refused when it is built."""
    from paramgen.hub.download import commit_of, fetch_file  # its libraries take a while

    try:
        file = fetch_file(repo, "config.json", revision=revision or None)
        reads_tokens = bool(tables_of(read_config(file)))
    except Exception:  # the same request is made for the architecture, which says what is wrong
        return ""
    return (commit_of(file) or revision) if reads_tokens else ""
