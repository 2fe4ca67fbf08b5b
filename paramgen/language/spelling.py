"""How the tokens of one tokenizer are spelled in tokens of another, and the embedding table that follows from it.

The local half of TokenAdapt (Sharthak et al., 2025, arXiv:2505.09738): a token that both tokenizers have keeps its row;
any other gets the mean of the rows of the tokens that spell it, weighted by their lengths. Its global half, which
looks for similar tokens with a second model, is left out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.errors import OptionError
from paramgen.slots.init_program import one_thread

_BYTE: Final = re.compile("<0x[0-9A-Fa-f]{2}>")
_ROLES: Final = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@final
@dataclass(frozen=True, kw_only=True)
class Alphabet:
    """How a tokenizer writes bytes: GPT-2's letters for bytes, SentencePiece's underlines, or WordPiece's marks."""

    tokenizer: Any
    name: str

    @cached_property
    def kind(self) -> str:
        """`bytes`, `words` or `pieces`."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise OptionError(f"The tokenizer {self.name} has no tokenizer.json. Give one that tokenizers reads.")
        decoder = str(backend.decoder)
        return "bytes" if "ByteLevel" in decoder else "words" if "WordPiece" in decoder else "pieces"

    @cached_property
    def _letters(self) -> Mapping[int, str]:
        from transformers.convert_slow_tokenizer import bytes_to_unicode

        letters: Mapping[int, str] = bytes_to_unicode()
        return letters

    @cached_property
    def _bytes(self) -> Mapping[str, int]:
        return {letter: byte for byte, letter in self._letters.items()}

    def read(self, token: str) -> bytes:
        """Return the bytes that a token stands for; the beginning of a word is a space."""
        if self.kind == "bytes":
            if all(letter in self._bytes for letter in token):
                return bytes(self._bytes[letter] for letter in token)
            return token.encode()
        if self.kind == "words":
            return (token.removeprefix("##") if token.startswith("##") else f" {token}").encode()
        if _BYTE.fullmatch(token):
            return bytes.fromhex(token[3:5])
        return token.replace("\u2581", " ").encode()

    def write(self, text: bytes) -> str:
        """Return bytes in the form that the tokenizer's own model reads."""
        if self.kind == "bytes":
            return "".join(self._letters[byte] for byte in text)
        words = text.decode(errors="ignore")
        return words.strip() if self.kind == "words" else words.replace(" ", "\u2581")

    @cached_property
    def vocabulary(self) -> Mapping[str, int]:
        """Tokens and their ids, in the order of the ids."""
        found: dict[str, int] = self.tokenizer.get_vocab()
        return dict(sorted(found.items(), key=lambda item: item[1]))


@final
@dataclass(frozen=True, kw_only=True)
class Spelling:
    """For each row of the new table, the rows of the old one that make it, with weights that sum to 1."""

    parts: Sequence[Mapping[int, float]]

    @torch.no_grad()
    @one_thread()  # sums would depend on their number
    def table(self, old: Float[Tensor, "rows ..."]) -> Float[Tensor, "words ..."]:
        """Return the new table; tokens without a spelling and rows without a token get the mean of all rows."""
        rows = old.float()
        mean = rows.mean(0)
        table = torch.empty(len(self.parts), *old.shape[1:])
        for row, parts in enumerate(self.parts):
            weights = torch.tensor(list(parts.values())).view(-1, *[1] * (old.ndim - 1))
            table[row] = (rows[list(parts)] * weights).sum(0) if parts else mean
        return table


def spelling(new: Alphabet, old: Alphabet, rows: int, old_rows: int) -> Spelling:
    """Return how every token of `new` is spelled in tokens of `old`; the tables have `rows` and `old_rows` rows."""
    known = {old.read(token): number for token, number in reversed(list(old.vocabulary.items())) if number < old_rows}
    special = _specials(new.tokenizer, old.tokenizer)
    parts: list[dict[int, float]] = [{} for _ in range(rows)]
    for token, number in new.vocabulary.items():
        text = new.read(token)
        if number in special:
            parts[number] = {special[number]: 1.0}
        elif text in known:
            parts[number] = {known[text]: 1.0}
        else:
            parts[number] = _spelled(text, old, old_rows)
    return Spelling(parts=parts)


def _spelled(text: bytes, old: Alphabet, old_rows: int) -> dict[int, float]:
    unknown = old.tokenizer.unk_token_id
    pieces = old.tokenizer.backend_tokenizer.model.tokenize(old.write(text))
    found: dict[int, float] = {}
    for piece in pieces:
        if piece.id != unknown and piece.id < old_rows:
            found[piece.id] = found.get(piece.id, 0.0) + max(1, len(old.read(piece.value)))
    total = sum(found.values())
    return {number: length / total for number, length in found.items()}


def _specials(new: Any, old: Any) -> dict[int, int]:
    """Return the old id of each new token with a special role, such as to end a text."""
    numbers = {role: (getattr(new, f"{role}_id"), getattr(old, f"{role}_id")) for role in _ROLES}
    return {has: had for has, had in numbers.values() if has is not None and had is not None}
