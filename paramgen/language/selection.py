"""Which indices a smaller language model takes of a larger one (Xu et al., 2024, arXiv:2311.18823), heads whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import torch
from jaxtyping import Int64
from torch import Tensor

from paramgen.language.families import Family
from paramgen.language.sizes import Sizes


@final
@dataclass(frozen=True, kw_only=True)
class Selection:
    """`places` has for each name of a side the indices that are taken, and how many there were."""

    family: Family
    places: Mapping[str, tuple[Int64[Tensor, " now"], int]]

    def taken(self, slot: str, larger: Tensor, shape: tuple[int, ...]) -> Tensor | None:
        """Return what a slot takes; None for a slot that the family does not have, or of other sizes."""
        sides = self.family.sides_of(slot)
        chosen = None if sides is None else [self.places.get(side) for side in sides]
        if chosen is None or None in chosen:
            return None
        if [place and (len(place[0]), place[1]) for place in chosen] != list(zip(shape, larger.shape, strict=True)):
            return None
        for side, place in enumerate(chosen):
            assert place is not None
            larger = larger.index_select(side, place[0])
        return larger.contiguous()


_WIDTH: Final = ("writes", "reads", "gain", "shift", "last_gain", "last_shift")


def selection_of(family: Family, larger: Sizes, now: Sizes) -> Selection:
    """Choose among what the larger model has more of; a side that is longer now is left out."""
    places: dict[str, tuple[Int64[Tensor, " now"], int]] = {}
    if now.width <= larger.width:
        places |= dict.fromkeys(_WIDTH, (even(larger.width, now.width), larger.width))
    if now.units <= larger.units:
        places |= dict.fromkeys(("units", "summed"), (even(larger.units, now.units), larger.units))
    for table in ("vocabulary", "positions", "types"):  # of tokens, the frequent ones stand first
        had, has = getattr(larger, table), getattr(now, table)
        if has <= had:
            places[table] = (torch.arange(has), had)
    if now.heads <= larger.heads and now.shared_heads <= larger.shared_heads and now.head_width <= larger.head_width:
        places |= _heads(family, larger, now)
    return Selection(family=family, places=places)


def _heads(family: Family, larger: Sizes, now: Sizes) -> dict[str, tuple[Int64[Tensor, " now"], int]]:
    """Take whole heads; a group of queries from the group of the keys and values that it will read."""
    had, has = larger.heads // larger.shared_heads, now.heads // now.shared_heads
    shared = even(larger.shared_heads, now.shared_heads)
    if has <= had:
        queries = (shared.view(-1, 1) * had + even(had, has)).flatten()
    else:
        queries = even(larger.heads, now.heads)
        shared = queries[::has] // had
    parts = 2 if family.rotary else 1  # a rotation turns the first half with the second
    inside = even(larger.head_width // parts, now.head_width // parts)
    inside = torch.cat([inside + part * (larger.head_width // parts) for part in range(parts)])
    query, other = (
        ((heads.view(-1, 1) * larger.head_width + inside).flatten(), count * larger.head_width)
        for heads, count in ((queries, larger.heads), (shared, larger.shared_heads))
    )
    fused = torch.cat([query[0], other[0] + query[1], other[0] + query[1] + other[1]])
    return {
        "queries": query,
        "keys": other,
        "values": other,
        "mixed": query,
        "fused": (fused, query[1] + 2 * other[1]),
    }


def evenly(larger: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the elements at even distances along each dimension ("uniform element selection", section 3)."""
    for dimension, (have, want) in enumerate(zip(larger.shape, shape, strict=True)):
        if have == want:
            continue
        larger = larger.index_select(dimension, even(have, want))
    return larger.contiguous()


def even(have: int, want: int) -> Int64[Tensor, " want"]:
    """Return so many of `have` places, at even distances.

    Where a size does not divide the larger one, they are rounded between the first and the last; the authors' code
    counts to one behind the last.
    """
    if have % max(want, 1) == 0:
        return torch.arange(want) * (have // max(want, 1))
    return torch.linspace(0, have - 1, want, dtype=torch.float64).round().long()
