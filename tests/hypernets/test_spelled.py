import torch

from paramgen.graphs.places import Piece, Place
from paramgen.graphs.view import View
from paramgen.hypernets.spelled import LETTERS, alike, byte_spelling, letters_name, spelled
from paramgen.hypernets.supernet import Supernet, SupernetConfig

WIDTH = 6


def test_a_token_is_the_sum_of_its_letters_by_place_and_its_length() -> None:
    table, letters = torch.randn(256, WIDTH), torch.randn(2 * LETTERS, WIDTH)
    rows = spelled(table, letters, torch.tensor([[97, -1], [97, 98]]))
    assert torch.allclose(rows[0], table[97] * letters[0] + letters[LETTERS])
    both = (table[97] * letters[0] + table[98] * letters[1]) / 2**0.5
    assert torch.allclose(rows[1], both + letters[LETTERS + 1])


def test_rows_without_spelling_are_distributed_like_the_printable_bytes_and_are_no_copies() -> None:
    table = torch.randn(256, WIDTH) @ torch.diag(torch.tensor([3.0, 1.0, 1.0, 0.1, 0.1, 0.1])) + 1.0
    rows = alike(table, 0.02 * torch.randn(20_000, WIDTH, generator=torch.Generator().manual_seed(0)))
    known = table[32:127]
    assert torch.allclose(rows.mean(0), known.mean(0), atol=0.1)
    assert torch.allclose(rows.t().cov(), known.t().cov(), atol=0.3)
    assert len(rows.unique(dim=0)) == len(rows)


def words(rows: int, width: int, spelling: torch.Tensor | None) -> torch.Tensor:
    tensors = {"words@rotary/0:weight": (256, WIDTH), letters_name("words@rotary"): (2 * LETTERS, WIDTH)}
    supernet = Supernet(SupernetConfig(tensors=tensors, token_steps=2, image_steps=1, spill=0.5))
    supernet.reset(torch.Generator().manual_seed(0))
    place = Place(slot="w", shape=(rows, width), form="table", part="weight", pieces=(Piece("words@rotary", 0, rows),))
    view = View(
        primitives=torch.zeros(1, dtype=torch.int64),
        shapes=(None,),
        distances=torch.zeros(1, 1, dtype=torch.uint8),
        requests=(),
        places={"w": place},
        spelling=spelling,
    )
    return dict(supernet(view, lambda slot: torch.full((rows, width), 7.0)))["w"].detach()


def test_a_network_that_reads_bytes_gets_the_table_of_bytes() -> None:
    assert torch.equal(words(256, 4, None), words(256, 4, byte_spelling()))
    wide = words(256, WIDTH + 2, None)
    assert torch.equal(wide[:, :4], words(256, 4, None)) and bool((wide[:, WIDTH:] == 7.0).all())


def test_special_tokens_and_rows_behind_the_vocabulary_keep_their_start() -> None:
    spelling = torch.tensor([[97, 98], [-1, -1]])
    found = words(3, 4, spelling)
    assert bool((found[1:] == 7.0).all()) and bool((found[0] != 7.0).all())
