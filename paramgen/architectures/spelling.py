"""With which bytes the tokens of a vocabulary are spelled, read off their names."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

import torch
from jaxtyping import Int64
from torch import Tensor

_BYTE: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPECIAL: Final = re.compile(r"<[^<>]+>|\[[A-Z]+\d*\]")
_SPACE: Final = "\u2581"  # how SentencePiece writes one
_CONTINUED: Final = "##"  # how WordPiece writes that no space comes before


def letters_of(tokens: Sequence[str], count: int) -> Int64[Tensor, "rows letters"]:
    """Return the first `count` bytes of each token, then -1; special tokens (`<pad>`, `[MASK]`) have none.

    Args:
        tokens: What a tokenizer calls its tokens, in the order of their numbers: byte-level BPE (`Ġthe`), SentencePiece
            (`▁the`, `<0x0A>`) or WordPiece (`##ing`).
        count: Bytes that count.

    """
    spelling = torch.full((len(tokens), count), -1, dtype=torch.int64)
    byte_level = _byte_level(tokens)
    for row, token in enumerate(tokens):
        letters = _bytes(token, byte_level=byte_level)[:count]
        spelling[row, : len(letters)] = torch.tensor(list(letters), dtype=torch.int64)
    return spelling


def _byte_level(tokens: Sequence[str]) -> bool:
    """Whether all tokens are written in the 256 characters that stand for bytes, and a space is one of them."""
    known = set(tokens)
    return all(character in known for character in _alphabet())


def _bytes(token: str, *, byte_level: bool) -> bytes:
    if _SPECIAL.fullmatch(token) and not _BYTE.fullmatch(token):
        return b""
    if byte_level:
        alphabet = _alphabet()
        return bytes(alphabet[character] for character in token if character in alphabet)
    if match := _BYTE.fullmatch(token):
        return bytes([int(match[1], 16)])
    return token.removeprefix(_CONTINUED).replace(_SPACE, " ").encode()


@cache
def _alphabet() -> dict[str, int]:
    """Return the byte of each character of GPT-2's byte-level alphabet."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {character: byte for byte, character in bytes_to_unicode().items()}
