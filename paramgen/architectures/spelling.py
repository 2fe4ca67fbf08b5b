"""The bytes that spell each token of a vocabulary, read off the tokens' names."""

import base64
import re
from binascii import Error
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, final

import torch
from jaxtyping import Int64
from torch import Tensor

from paramgen.errors import OptionError

_BYTE: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPECIAL: Final = re.compile(r"<[^<>]+>|\[[A-Z]+\d*\]")
_SPACE: Final = "\u2581"  # how SentencePiece writes one
_CONTINUED: Final = "##"  # how WordPiece writes that no space comes before


SENT: Final = "as sent"
"""What a tokenizer is called whose file stays where it is: only the spelling of its tokens is sent."""


AS_BYTES: Final = (
    "no tokenizer was given, so a vocabulary of 256 is taken for the 256 bytes. If it is something else, "
    "type: --tokenizer FOLDER"
)


@final
@dataclass(frozen=True, eq=False)
class Letters:
    """The bytes of each token of a tokenizer that is elsewhere, as `letters_of` returns them."""

    rows: Int64[Tensor, "rows letters"]

    def to_text(self) -> str:
        """Return them for a request: a byte for how many there are, then that row's, filled up with zeros; base64."""
        counts = (self.rows >= 0).sum(1, keepdim=True)
        content = torch.cat([counts, self.rows.clamp(min=0)], 1).to(torch.uint8)
        return base64.b64encode(content.numpy().tobytes()).decode()

    @classmethod
    def from_text(cls, text: str, count: int) -> "Letters":
        """Read `count` bytes of each token, from somebody who may have sent anything.

        Raises:
            OptionError: It is no such text.

        """
        try:
            content = base64.b64decode(text, validate=True)
        except (Error, ValueError) as error:
            raise OptionError("The spelling of tokens is no base64. Type --tokenizer: paramgen sends it") from error
        if not content or len(content) % (count + 1):
            raise OptionError(f"The spelling of tokens has {len(content):,} bytes; each token takes {count + 1}.")
        table = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(-1, count + 1).long()
        counts, rows = table[:, :1], table[:, 1:]
        absent = torch.arange(count) >= counts
        if bool((counts > count).any()) or bool(rows[absent].any()):
            raise OptionError(f"The spelling of tokens has one of more than {count} bytes, or bytes behind its end.")
        return cls(rows.masked_fill(absent, -1))


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
    """Whether all tokens are written in the 256 characters that each mean a byte, and a space is one of them."""
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
