"""What a warm-up learns from: brackets that match, rows that follow their rule, pictures of some contrast."""

import torch

from paramgen.preparation.drawn_pictures import FRACTALS, SHAPES, fractals, shapes
from paramgen.preparation.sequences import CELLS, automata, brackets, tokens_needed


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_brackets_close_what_is_open() -> None:
    tokens, targets = brackets(16, 80, 5, generator())
    assert tokens.min() == 0 and tokens.max() == 9
    known = 0
    for row, wanted in zip(tokens.tolist(), targets.tolist(), strict=True):
        stack: list[int] = []
        for place, token in enumerate(row):
            if token < 5:
                stack.append(token)
                assert place == 0 or wanted[place - 1] == -100
            else:
                assert stack.pop() == token - 5
                assert wanted[place - 1] == token
                known += 1
        assert len(stack) <= 16
    assert known > 300


def test_every_row_of_an_automaton_follows_from_the_one_above() -> None:
    tokens, targets = automata(12, 4 * (CELLS + 1), 20, generator())
    grid = tokens.view(12, 4, CELLS + 1) - 20
    assert bool((grid[..., -1] == 2).all()) and int(grid[..., :-1].max()) == 1
    for sequence in grid[..., :-1].tolist():
        rule: dict[tuple[int, int, int], int] = {}
        for above, below in zip(sequence, sequence[1:], strict=False):
            for cell in range(CELLS):
                seen = (above[cell - 1], above[cell], above[(cell + 1) % CELLS])
                assert rule.setdefault(seen, below[cell]) == below[cell]
    assert bool((targets[:, :CELLS] == -100).all()) and bool((targets[:, CELLS + 1 :] == tokens[:, CELLS + 2 :]).all())


def test_both_fit_into_the_tokens_that_are_needed() -> None:
    assert int(brackets(4, 64, 3, generator())[0].max()) < 6
    assert int(automata(4, 64, 6, generator())[0].max()) == tokens_needed(3) - 1


def test_pictures_have_values_as_normalized_photographs_have() -> None:
    labels = torch.tensor([0, 9] * 24)
    for drawn in (
        fractals(labels, (3, 32, 32), 1, generator()),
        shapes(torch.where(labels == 0, 0, SHAPES - 1), (3, 32, 32), generator()),
    ):
        assert drawn.shape == (48, 3, 32, 32) and bool(drawn.isfinite().all())
        assert float(drawn.abs().max()) < 5 and float(drawn.std()) > 0.2
    assert fractals(labels[:0], (1, 8, 8), 1, generator()).shape == (0, 1, 8, 8)


def test_the_same_numbers_draw_the_same_pictures() -> None:
    labels = torch.arange(FRACTALS)
    one, other = (fractals(labels, (1, 16, 24), 7, generator()) for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, fractals(labels, (1, 16, 24), 8, generator()))
