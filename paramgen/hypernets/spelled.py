"""Rows of a table of tokens, made of what the tokens are spelled with: one table of bytes serves every vocabulary.

A token's row is the sum of its bytes' rows, each scaled by a vector of its position in the token, divided by the root
of their number, plus a vector of that number: how long a token is says much about how frequent it is. Subword rows made
of their letters go back to Pinter et al., 2017 (arXiv:1707.06961); a sum, instead of a recurrent network, is fastText's
(Bojanowski et al., 2017, arXiv:1607.04606, §3.2).
"""

from dataclasses import replace
from typing import Final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from paramgen.graphs.analysis.address import Address

BYTES: Final = 256
LETTERS: Final = 8
"""Bytes of a token that count, from the first on."""
LETTERS_PART: Final = "letters"


def letters_address(table: Address) -> Address:
    """Return the address of the shared scales of letters that go with a table: they are few, and of no depth."""
    return replace(table, depth_index=0, part=LETTERS_PART)


def byte_spelling() -> Int64[Tensor, "256 1"]:
    """Return how the tokens of a network that reads bytes are spelled."""
    return torch.arange(BYTES)[:, None]


def spelled(
    table: Float[Tensor, "256 width"], letters: Float[Tensor, "16 width"], spelling: Int64[Tensor, "rows letters"]
) -> Float[Tensor, "rows width"]:
    """Return the rows of tokens.

    Args:
        table: Rows of bytes.
        letters: The scales of the eight positions, then what is added for each length from one to eight.
        spelling: Bytes, then -1, up to eight; a row of -1 alone gets values that callers must not use.

    """
    scales, lengths = letters.chunk(2)
    there = spelling >= 0
    rows = table.new_zeros(len(spelling), table.shape[1])
    for position, byte in enumerate(spelling.clamp(min=0).t()):
        rows = rows + table[byte] * scales[position] * there[:, position, None]
    length = there.sum(1).clamp(min=1)
    return rows * length.rsqrt()[:, None] + lengths[length - 1]
