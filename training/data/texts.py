"""Text as numbers, whole on the device that trains: bytes, or the tokens of a vocabulary made of the text itself."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

import torch
from jaxtyping import Int64
from torch import Tensor

from paramgen.architectures.spelling import letters_of
from paramgen.comparison.data.text import folder_text, tokenized
from paramgen.errors import OptionError
from paramgen.hypernets.spelled import BYTES, LETTERS, byte_spelling
from training.data.images import Split

IGNORED: Final = -100  # the label that torch's cross entropy ignores
_MASKED_SHARE: Final = 0.15
SPLITS: Final[tuple[Split, ...]] = ("train", "test")


@final
@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """One split, read in windows of one length."""

    tokens: Int64[Tensor, " tokens"]
    length: int

    def __len__(self) -> int:
        return len(self.tokens)

    def to(self, device: torch.device) -> "Texts":
        """Return the same text on a device."""
        return replace(self, tokens=self.tokens.to(device))

    def draw(self, count: int, generator: torch.Generator) -> tuple[Int64[Tensor, "batch length"], Tensor]:
        """Return `count` windows from random positions, and each one's next tokens."""
        begins = torch.randint(len(self) - self.length, (count, 1), generator=generator)
        return self._windows(begins)

    def batches(self, size: int, *, limit: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield windows side by side, spread over the text, at most `limit` of them."""
        begins = torch.arange(0, len(self) - self.length, self.length)
        every = max(1, len(begins) // (limit or len(begins)))
        for chosen in begins[::every][:limit].split(size):
            yield self._windows(chosen[:, None])

    def _windows(self, begins: Int64[Tensor, "batch 1"]) -> tuple[Tensor, Tensor]:
        positions = (begins + torch.arange(self.length + 1)).to(self.tokens.device)
        windows = self.tokens[positions]
        return windows[:, :-1], windows[:, 1:]


def load_texts(
    source: Path, vocabulary: int, lengths: tuple[int, ...]
) -> tuple[dict[tuple[Split, int], Texts], Int64[Tensor, "rows letters"]]:
    """Return a text file's, or a folder's, splits in windows of every length, and how the vocabulary is spelled.

    A vocabulary of 256 is that of bytes. A larger one is byte-level BPE (Sennrich et al., 2016, arXiv:1508.07909)
    of the training split, made here by `tokenizers`; the same text makes the same.
    """
    text = folder_text(source)
    if vocabulary == BYTES:
        read = tokenized(text, None)
        tokens, spelling = {"train": torch.cat([read.train, read.validation]), "test": read.test}, byte_spelling()
    else:
        tokens, spelling = _subwords({"train": text.train, "test": text.test}, vocabulary)
    short = min(map(len, tokens.values()))
    if short <= max(lengths):
        raise OptionError(f"--data {source} has a split of {short} tokens; windows are of {max(lengths)}. Give more.")
    return {(split, length): Texts(tokens[split], length) for split in SPLITS for length in lengths}, spelling


def masked(
    tokens: Int64[Tensor, "batch length"], spelling: Int64[Tensor, "rows letters"], generator: torch.Generator
) -> tuple[Int64[Tensor, "batch length"], Tensor]:
    """Mask some tokens; return the masked text and the labels, which are -100 where nothing is masked.

    Of every hundred tokens 15 are masked: 12 become the token that stands for the byte 0, which no text has, 1.5
    another one, and 1.5 stay (BERT, Devlin et al., 2019, arXiv:1810.04805, §3.1).
    """
    nothing = torch.full_like(spelling[0], -1)
    nothing[0] = 0
    hider = (spelling == nothing).all(1).nonzero()[0]
    lots = torch.rand(tokens.shape, generator=generator).to(tokens.device)
    others = torch.randint(len(spelling), tokens.shape, generator=generator).to(tokens.device)
    seen = torch.where(lots < _MASKED_SHARE * 0.8, hider, torch.where(lots < _MASKED_SHARE * 0.9, others, tokens))
    return seen, torch.where(lots < _MASKED_SHARE, tokens, IGNORED)


def _subwords(parts: dict[str, str], vocabulary: int) -> tuple[dict[str, Tensor], Tensor]:
    from tokenizers import ByteLevelBPETokenizer

    if vocabulary < BYTES:
        raise OptionError(f"A vocabulary of {vocabulary} has not even the {BYTES} bytes.")
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(parts["train"].splitlines(keepends=True), vocab_size=vocabulary, show_progress=False)
    if tokenizer.get_vocab_size() != vocabulary:
        raise OptionError(
            f"The text makes a vocabulary of {tokenizer.get_vocab_size()}; requested were {vocabulary}. Give more."
        )
    tokens = {
        which: torch.tensor(
            [token for line in tokenizer.encode_batch(part.splitlines(keepends=True)) for token in line.ids]
        )
        for which, part in parts.items()
    }
    return tokens, letters_of([tokenizer.id_to_token(token) for token in range(vocabulary)], LETTERS)
