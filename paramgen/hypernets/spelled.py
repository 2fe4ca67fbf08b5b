"""Rows of a table of tokens, made of what the tokens are spelled with: one table of bytes serves every vocabulary.

A token's row is the sum of its bytes' rows, each scaled by a vector of its place in the token, over the root of their
number, and a vector of that number: how long a token is says much of how frequent it is. Subword rows made of their
letters go back to Pinter et al., 2017 (arXiv:1707.06961); a sum, instead of a recurrent network, is fastText's
(Bojanowski et al., 2017, arXiv:1607.04606, §3.2).
"""

from typing import Final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

BYTES: Final = 256
LETTERS: Final = 8
"""Bytes of a token that count, from the first on."""
LETTERS_PART: Final = "letters"


def letters_name(table: str) -> str:
    """Return the name of the shared scales of letters that go with a table: they are few, and of no depth."""
    return f"{table}/0:{LETTERS_PART}"


def byte_spelling() -> Int64[Tensor, "256 1"]:
    """Return how the tokens of a network that reads bytes are spelled."""
    return torch.arange(BYTES)[:, None]


def spelled(
    table: Float[Tensor, "256 width"], letters: Float[Tensor, "16 width"], spelling: Int64[Tensor, "rows places"]
) -> Float[Tensor, "rows width"]:
    """Return the rows of tokens.

    Args:
        table: Rows of bytes.
        letters: The scales of the eight places, then what is added for each length from one to eight.
        spelling: Bytes, then -1, up to eight; a row that nothing spells gets what is of no use.

    """
    scales, lengths = letters.chunk(2)
    there = spelling >= 0
    rows = table.new_zeros(len(spelling), table.shape[1])
    for place, byte in enumerate(spelling.clamp(min=0).t()):
        rows = rows + table[byte] * scales[place] * there[:, place, None]
    length = there.sum(1).clamp(min=1)
    return rows * length.rsqrt()[:, None] + lengths[length - 1]
