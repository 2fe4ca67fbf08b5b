"""Tokenizers and image processors of transformers, which are saved beside a network."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from paramgen._optional.torchvision import ensure_torchvision
from paramgen.architectures import FolderLayout
from paramgen.architectures.followed import SPECIAL, VOCABULARY_KEY, TokenizerVocabulary, tables_of
from paramgen.architectures.spelling import Letters
from paramgen.architectures.untrusted_sizes import refuse_sizes
from paramgen.errors import OptionError, one_line
from paramgen.registry.repository_names import is_repository
from paramgen.storage.json_file import read_json_object
from paramgen.storage.regular import refuse_irregular

MAX_PROCESSOR_BYTES: Final = 200_000_000  # of one file; the largest tokenizers have some 35 MB
MAX_CONFIG: Final = 8_000_000
_CONFIGS: Final = ("tokenizer_config.json", "special_tokens_map.json", "preprocessor_config.json", "config.json")
_WANTED: Final = ("*.json", "*.txt", "*.model", "*.spm", "*.tiktoken", "*.codes", "*.jinja")

Companions = Mapping[tuple[str, str], Any]
"""Tokenizers and image processors of transformers, by option and name as they are typed."""


def companions(layout: FolderLayout, *, tokenizer: str | None, image_processor: str | None) -> Companions:
    """Return what is to be saved beside a network; a tokenizer must fit into its vocabulary.

    Raises:
        OptionError: The network takes none, or the tokenizer does not fit.
    """
    given = {"--tokenizer": tokenizer, "--image-processor": image_processor}
    for option, name in given.items():
        if name is not None and layout.source != "transformers":
            raise OptionError(f"{option} {name} is for networks of transformers; this one is {layout.source}'s.")
    found: dict[tuple[str, str], Any] = {}
    if tokenizer is not None:
        read = found["--tokenizer", tokenizer] = read_tokenizer(tokenizer)
        refuse_larger(read, tokenizer, layout.config)
    if image_processor is not None:
        found["--image-processor", image_processor] = _read_image_processor(image_processor)
    return found


def read_tokenizer(name: str) -> Any:
    """Read the tokenizer in a folder, a tokenizer.json or a Hub repository (`org/model[@revision]`).

    Raises:
        OptionError: There is none, or it cannot be read.
    """
    ensure_torchvision()
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    where = _held(name, "--tokenizer")
    from_file: Any = PreTrainedTokenizerFast
    try:
        with _without_panics():
            if name.endswith(".json"):
                tokenizer = from_file(tokenizer_file=where)
            else:
                tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
            words = len(tokenizer) - len(tokenizer.all_special_tokens)
    except Exception as error:  # transformers and tokenizers raise many kinds, some of them bare
        raise OptionError(
            f"No tokenizer {name!r}: {one_line(error)} Type: --tokenizer FOLDER, tokenizer.json or a Hub repository."
        ) from error
    if words < 1:  # what transformers makes of a folder that has a network's config.json only
        raise OptionError(f"{name!r} has no tokenizer's vocabulary. Type: --tokenizer FOLDER, one with tokenizer.json")
    return tokenizer


def _read_image_processor(name: str) -> Any:
    ensure_torchvision()
    from transformers import AutoImageProcessor

    where = _held(name, "--image-processor")
    automatic: Any = AutoImageProcessor
    try:
        return automatic.from_pretrained(where, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds
        raise OptionError(
            f"No image processor {name!r}: {one_line(error)} Type: --image-processor FOLDER, one with "
            "preprocessor_config.json, or a Hub repository."
        ) from error


def _held(name: str, option: str) -> str:
    """Return the path of what a name means, once nothing is too large; of a repository, no code is fetched."""
    where = Path(name)
    repo, at, revision = name.partition("@")
    if not where.exists() and is_repository(repo, with_owner=False) and bool(at) == bool(revision):
        from paramgen.hub.download import (  # where the Hub's libraries are another's, only when asked for
            fetch_folder,
            reason,
        )

        try:
            where = fetch_folder(repo, list(_WANTED), revision=revision or None)
        except Exception as error:  # a connection that breaks raises what its own library has for it
            raise OptionError(
                f"{name!r} is neither here nor to be had from the Hub: {reason(error)}. Type: {option} FOLDER"
            ) from error
    _refuse_unreadable(where)
    for file in _CONFIGS if where.is_dir() else ():
        if (where / file).is_file():
            _refuse_sizes_in(where / file)
    return str(where)


def _refuse_sizes_in(file: Path) -> None:
    """Refuse a tokenizer's or image processor's configuration with numbers that none has."""
    refuse_sizes(read_json_object(file, most=MAX_CONFIG, error=OptionError), origin=str(file))


@contextmanager
def _without_panics() -> Iterator[None]:
    """Make an error of what tokenizers' compiled code panics with, and keep its own report off the terminal."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    except BaseException as error:  # a panic is no Exception
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(one_line(error)) from None
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _refuse_unreadable(path: Path) -> None:
    """Refuse a file, or one in a folder, that is too large or no regular file: libraries read what has a known name."""
    for file in list(path.iterdir()) if path.is_dir() else [path] if path.exists() else []:
        refuse_irregular(file, OptionError, "Give another.")
        if file.suffix in (".json", ".txt", ".model") and file.stat().st_size > MAX_PROCESSOR_BYTES:
            raise OptionError(
                f"{file} has more than {MAX_PROCESSOR_BYTES:,} bytes, which no tokenizer needs. Give another."
            )


def tokens_of(tokenizer: Any, name: str) -> TokenizerVocabulary:
    """Return what a network's config takes from a tokenizer."""
    special = {key: getattr(tokenizer, key, None) for key in SPECIAL}
    return TokenizerVocabulary(name=name, rows=rows_of(tokenizer), special=special)


def rows_of(tokenizer: Any) -> int:
    """Return how many rows a table of its tokens has; more than there are tokens where some numbers have none."""
    if isinstance(tokenizer, Letters):
        return len(tokenizer.rows)
    return int(max(tokenizer.get_vocab().values())) + 1


def refuse_larger(tokenizer: Any, name: str, config: Mapping[str, Any]) -> None:
    """Refuse a tokenizer whose ids reach beyond the network's table; a larger table is common, and no fault.

    Raises:
        OptionError: The ids reach beyond the table.
    """
    sizes = {before: table[VOCABULARY_KEY] for before, table in tables_of(config).items()}
    needed = rows_of(tokenizer)
    for prefix, rows in sizes.items():
        if needed > rows:
            raise OptionError(
                f"The tokenizer {name} has {needed:,} tokens, the network a vocabulary of {rows:,}. "
                f"Type: --set {prefix}vocab_size={needed}"
            )
