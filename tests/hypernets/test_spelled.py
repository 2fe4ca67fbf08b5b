import pytest
import torch

from paramgen.graphs.analysis.address import Address
from paramgen.graphs.analysis.addressed_slots import AddressedSlot, Slice
from paramgen.graphs.views.view import View
from paramgen.hypernets.spelled import LETTERS, byte_spelling, letters_address, spelled
from paramgen.hypernets.supernet import Supernet, SupernetConfig

WIDTH = 6


def test_a_token_is_the_sum_of_its_letters_by_position_and_its_length() -> None:
    table, letters = torch.randn(256, WIDTH), torch.randn(2 * LETTERS, WIDTH)
    rows = spelled(table, letters, torch.tensor([[97, -1], [97, 98]]))
    assert torch.allclose(rows[0], table[97] * letters[0] + letters[LETTERS])
    both = (table[97] * letters[0] + table[98] * letters[1]) / 2**0.5
    assert torch.allclose(rows[1], both + letters[LETTERS + 1])


def words(rows: int, width: int, spelling: torch.Tensor | None) -> torch.Tensor:
    address = Address("words", "rotary")
    tensors = {address: (256, WIDTH), letters_address(address): (2 * LETTERS, WIDTH)}
    supernet = Supernet(SupernetConfig(tensors=tensors, token_steps=2, image_steps=1, spill=0.5))
    supernet.reset(torch.Generator().manual_seed(0))
    slot = AddressedSlot(slot="w", shape=(rows, width), form="table", slices=(Slice(address, 0, rows),))
    view = View(
        primitives=torch.zeros(1, dtype=torch.int64),
        shapes=(None,),
        distances=torch.zeros(1, 1, dtype=torch.uint8),
        requests=(),
        addressed_slots={"w": slot},
        spelling=spelling,
    )
    return dict(supernet(view, lambda slot: torch.full((rows, width), 7.0)))["w"].detach()


def test_a_network_that_reads_bytes_gets_the_table_of_bytes() -> None:
    assert torch.equal(words(256, 4, None), words(256, 4, byte_spelling()))
    wide = words(256, WIDTH + 2, None)
    assert torch.equal(wide[:, :4], words(256, 4, None)) and bool((wide[:, WIDTH:] == 7.0).all())


def test_special_tokens_and_rows_behind_the_vocabulary_keep_their_default() -> None:
    spelling = torch.tensor([[97, 98], [-1, -1]])
    found = words(3, 4, spelling)
    assert bool((found[1:] == 7.0).all()) and bool((found[0] != 7.0).all())


def test_nothing_is_filled_where_nothing_tells_how_tokens_are_spelled() -> None:
    with pytest.raises(KeyError):
        words(300, 4, None)
    assert len(words(300, 4, byte_spelling())) == 300
