"""Sequences that a few lines of code make: brackets that match, and rows of cellular automata.

Both are next-token tasks without words (Shinnick et al., 2026, arXiv:2601.21725). Only what can be known counts: which
bracket closes, and every cell that its row above decides. All else has the target -100.
"""

from typing import Final

import torch
from jaxtyping import Int64
from torch import Tensor

MAX_BRACKETS: Final = 64
CELLS: Final = 15
"""Cells of an automaton; a row of them and the token that ends it have 16 places."""

_IGNORED: Final = -100  # the target that torch's cross-entropy leaves out
_MAX_DEPTH: Final = 16
_RULES: Final = (18, 22, 30, 45, 54, 60, 73, 90, 105, 106, 110, 122, 126, 146, 150)
"""Elementary rules, in Wolfram's numbers, whose rows do not soon repeat."""

Sequences = tuple[Int64[Tensor, "batch length"], Int64[Tensor, "batch targets"]]
"""Tokens, and for each but the first the token itself where it can be known."""


def tokens_needed(pairs: int) -> int:
    """Return how many tokens `brackets` of so many pairs and `automata` behind them use."""
    return 2 * pairs + 3


def brackets(count: int, length: int, pairs: int, generator: torch.Generator) -> Sequences:
    """Return sequences of `pairs` kinds of brackets, nested at most 16 deep; token i + pairs closes token i."""
    stack = torch.zeros(count, _MAX_DEPTH, dtype=torch.int64)
    depth = torch.zeros(count, dtype=torch.int64)
    kinds = torch.randint(pairs, (count, length), generator=generator)
    opens = torch.rand(count, length, generator=generator) < 0.5
    tokens = torch.zeros(count, length, dtype=torch.int64)
    closing = torch.zeros(count, length, dtype=torch.bool)
    row = torch.arange(count)
    for place in range(length):
        opening = ((depth == 0) | opens[:, place]) & (depth < _MAX_DEPTH)
        top = stack[row, (depth - 1).clamp_min(0)]
        tokens[:, place] = torch.where(opening, kinds[:, place], top + pairs)
        closing[:, place] = ~opening
        at = depth.clamp_max(_MAX_DEPTH - 1)
        stack[row, at] = torch.where(opening, kinds[:, place], stack[row, at])
        depth += torch.where(opening, 1, -1)
    return tokens, tokens.masked_fill(~closing, _IGNORED)[:, 1:]


def automata(count: int, length: int, first: int, generator: torch.Generator) -> Sequences:
    """Return rows of elementary cellular automata on a ring, each sequence by a rule of its own.

    The tokens are `first` (an empty cell), the next (a full one) and the one after (the end of a row).
    """
    rows = -(-length // (CELLS + 1))
    chosen = torch.tensor(_RULES)[torch.randint(len(_RULES), (count,), generator=generator)]
    table = (chosen[:, None] >> torch.arange(8)) & 1  # (sequences, neighbourhoods)
    cells = [torch.randint(2, (count, CELLS), generator=generator)]
    for _ in range(rows - 1):
        above = cells[-1]
        seen = 4 * above.roll(1, 1) + 2 * above + above.roll(-1, 1)
        cells.append(table.gather(1, seen))
    grid = torch.stack(cells, 1)  # (sequences, rows, cells)
    end = torch.full((count, rows, 1), 2)
    tokens = torch.cat((grid, end), 2).flatten(1)[:, :length] + first
    targets = tokens.clone()
    targets[:, : CELLS + 1] = _IGNORED  # nothing decides the first row
    return tokens, targets[:, 1:]
