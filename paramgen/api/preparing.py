"""Public functions that make what a prediction begins with: a hypernet of a published file, a tokenizer of a text."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paramgen.api.types import Converted, TokenizerFolder


def convert(file: str | Path, folder: str | Path, *, overwrite: bool = False) -> "Converted":
    """Turn a published hypernet's checkpoint into a folder for `init="hypernet:FOLDER"`, without running code in it.

    >>> paramgen.convert("ghn3tm8.pt", "ghn3").family
    'ghn3'

    Args:
        file: Of GHN-1, GHN-2, GHN-3 or LoGAH.
        folder: New or empty, or written by `convert` before if `overwrite`.
        overwrite: Replace a folder that `convert` wrote.

    """
    from paramgen.published.convert import convert as convert_file

    return convert_file(Path(file), Path(folder), overwrite=overwrite)


def train_tokenizer(text: str | Path, folder: str | Path, *, vocabulary: int = 8_000) -> "TokenizerFolder":
    """Train a byte-level BPE tokenizer on a text, for a language model that is trained from scratch on it.

    >>> paramgen.train_tokenizer("notes.txt", "words", vocabulary=2000).vocabulary
    2000

    Args:
        text: A text file, or a folder of them (*.txt, *.md).
        folder: New or empty; `tokenizer=` of `predict`, `write` and `compare` takes it.
        vocabulary: Number of tokens; fewer if the text has no more pairs to merge.

    """
    from paramgen.comparison.data.tokenizer_folder import write_tokenizer

    return write_tokenizer(Path(text), Path(folder), vocabulary)
