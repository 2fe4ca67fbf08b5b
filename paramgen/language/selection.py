"""Which indices of a larger language model a smaller one takes, heads whole (Xu et al., 2024, arXiv:2311.18823)."""

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
    """The indices that are taken along each named axis, and how many there were."""

    family: Family
    indices: Mapping[str, tuple[Int64[Tensor, " now"], int]]

    def taken(self, slot: str, larger: Tensor, shape: tuple[int, ...]) -> Tensor | None:
        """Return what a slot takes; None for a slot that the family does not have, or of other sizes."""
        names = self.family.axes_of(slot)
        chosen = None if names is None else [self.indices.get(name) for name in names]
        if chosen is None or None in chosen:
            return None
        if [pair and (len(pair[0]), pair[1]) for pair in chosen] != list(zip(shape, larger.shape, strict=True)):
            return None
        for axis, pair in enumerate(chosen):
            assert pair is not None
            larger = larger.index_select(axis, pair[0])
        return larger.contiguous()


_WIDTH: Final = ("writes", "reads", "gain", "shift", "last_gain", "last_shift")


def selection_of(family: Family, larger: Sizes, now: Sizes) -> Selection:
    """Choose indices along each axis; an axis that is longer in the new model is left out."""
    indices: dict[str, tuple[Int64[Tensor, " now"], int]] = {}
    if now.width <= larger.width:
        indices |= dict.fromkeys(_WIDTH, (even(larger.width, now.width), larger.width))
    if now.units <= larger.units:
        indices |= dict.fromkeys(("units", "summed"), (even(larger.units, now.units), larger.units))
    for table in ("vocabulary", "positions", "types"):  # of tokens, the frequent ones come first
        had, has = getattr(larger, table), getattr(now, table)
        if has <= had:
            indices[table] = (torch.arange(has), had)
    if now.heads <= larger.heads and now.shared_heads <= larger.shared_heads and now.head_width <= larger.head_width:
        indices |= _heads(family, larger, now)
    return Selection(family=family, indices=indices)


def _heads(family: Family, larger: Sizes, now: Sizes) -> dict[str, tuple[Int64[Tensor, " now"], int]]:
    """Choose whole heads; queries come from the group whose keys and values they will read."""
    had, has = larger.heads // larger.shared_heads, now.heads // now.shared_heads
    shared = even(larger.shared_heads, now.shared_heads)
    if has <= had:
        queries = (shared.view(-1, 1) * had + even(had, has)).flatten()
    else:
        queries = even(larger.heads, now.heads)
        shared = queries[::has] // had
    parts = 2 if family.rotary else 1  # a rotation pairs the first half with the second
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
    """Return `want` of `have` indices, evenly spaced.

    Where `want` does not divide `have`, evenly spaced numbers from the first to the last index are rounded; the
    authors' code goes to one behind the last.
    """
    if have % max(want, 1) == 0:
        return torch.arange(want) * (have // max(want, 1))
    return torch.linspace(0, have - 1, want, dtype=torch.float64).round().long()
