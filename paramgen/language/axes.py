"""One side of a tensor before and after a growth: where each new index comes from, and what must be silent there.

What a network computes is kept by two words. What is *silent* is zero: it would change what the network computes.
What is new and not silent is free: whatever stands there meets a zero, so it is drawn at random, and training can tell
it apart (Chen et al., 2016, arXiv:1511.05641; Gesmundo & Maile, 2023, arXiv:2308.06103).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from paramgen.slots.init_program import one_thread


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Axis:
    """`origin` is the index before of every index now, -1 for a new one."""

    before: int
    origin: Int64[Tensor, " now"]
    scale: Float[Tensor, " now"]  # of what comes from before
    silent: Bool[Tensor, " now"]
    shares: int = 1  # above 1: so many indices, `before` apart, share what one had; their sum is it
    centred: bool = False  # whether what was before is taken without its mean

    @property
    def now(self) -> int:
        """Number of indices."""
        return len(self.origin)


def axis(before: int, origin: Int64[Tensor, " now"], *, silent: bool = False, scale: float = 1.0) -> Axis:
    """Return an axis with one scale, of which all that is new is silent, or nothing."""
    new = origin < 0
    return Axis(
        before=before, origin=origin, scale=torch.full((len(origin),), scale), silent=new if silent else new & False
    )


def first(before: int, now: int) -> Int64[Tensor, " now"]:
    """Everything in its place, what is new behind it."""
    return torch.cat([torch.arange(before), torch.full((now - before,), -1)])


def joined(axes: Sequence[Axis]) -> Axis:
    """Return axes behind one another, as a fused weight has them."""
    offsets = [sum(part.before for part in axes[:place]) for place in range(len(axes))]
    origins = [
        torch.where(part.origin < 0, part.origin, part.origin + offset)
        for part, offset in zip(axes, offsets, strict=True)
    ]
    return Axis(
        before=sum(part.before for part in axes),
        origin=torch.cat(origins),
        scale=torch.cat([part.scale for part in axes]),
        silent=torch.cat([part.silent for part in axes]),
    )


def copies(before: int, now: int) -> Axis:
    """Return an axis on which everything stands `now / before` times."""
    return axis(before, torch.arange(before).repeat(now // before))


def scaled(one: Axis, factor: float) -> Axis:
    """Return the axis with its scale multiplied."""
    return replace(one, scale=one.scale * factor)


@torch.no_grad()
@one_thread()  # sums would depend on their number
def grown(before: Tensor, start: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Return what a tensor becomes.

    Args:
        before: The tensor, `axis.before` long on each side.
        start: What stands where nothing is from before, and parts shares from one another: `axis.now` long.
        axes: One for each side.

    """
    values, now = before.float(), start.float().clone()
    for side, each in enumerate(axes):
        now.index_fill_(side, each.silent.nonzero().flatten(), 0.0)
        if each.centred:
            values = values - values.mean(side, keepdim=True)
    places = [(each.origin >= 0).nonzero().flatten() for each in axes]
    block = start.float()
    for side, (each, kept) in enumerate(zip(axes, places, strict=True)):
        shape = [-1 if other == side else 1 for other in range(len(axes))]
        factor = (each.scale[kept] / each.shares).view(shape)
        values = values.index_select(side, each.origin[kept]) * factor
        block = block.index_select(side, kept)
    for side, each in enumerate(axes):
        if each.shares > 1:
            values = values + _apart(block, side, each.shares)
    now[tuple(torch.meshgrid(*places, indexing="ij"))] = values
    return now.to(start.dtype)


def _apart(noise: Tensor, side: int, shares: int) -> Tensor:
    """Return noise whose shares add up to zero."""
    parts = noise.unflatten(side, (shares, -1))
    return (parts - parts.mean(side, keepdim=True)).flatten(side, side + 1)
