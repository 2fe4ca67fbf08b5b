"""A tokenizer that is trained on a user's text, in a folder that predictions and comparisons read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from paramgen.comparison.data.text import read_texts
from paramgen.language.tokenizers import train_tokenizer
from paramgen.storage.folder import checked_target, transaction


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerFolder:
    """A tokenizer that was trained: where it is, and how it writes the text."""

    folder: Path
    vocabulary: int
    bytes: int  # of the text
    tokens: int  # of the text, as the tokenizer writes it

    def to_json(self) -> dict[str, Any]:
        """Return what the command prints."""
        return {
            "folder": str(self.folder),
            "vocabulary": self.vocabulary,
            "bytes": self.bytes,
            "tokens": self.tokens,
        }


def write_tokenizer(text: Path, folder: Path, vocabulary: int) -> TokenizerFolder:
    """Train a tokenizer on a text file, or on those below a folder, and write it whole or not at all."""
    checked_target(folder)
    texts = read_texts(text)
    trained = train_tokenizer(texts, vocabulary)
    with transaction(folder) as partial:
        trained.save_pretrained(partial)
    return TokenizerFolder(
        folder=folder,
        vocabulary=len(trained),
        bytes=sum(len(each.encode()) for each in texts),
        tokens=sum(len(trained(each, add_special_tokens=False)["input_ids"]) for each in texts),
    )
