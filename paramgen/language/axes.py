"""One axis of a tensor before and after a growth: where each new index comes from, and which new ones must be zero.

A growth must not change what the network computes. New entries that would change it are zero; they are called
*silent*. All other new entries are multiplied by a zero somewhere, so they are random, which lets training tell them
apart (Chen et al., 2016, arXiv:1511.05641; Gesmundo & Maile, 2023, arXiv:2308.06103).
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
    """One axis: for every index now, the index before that it comes from (`origin`), -1 for a new one."""

    before: int
    origin: Int64[Tensor, " now"]
    scale: Float[Tensor, " now"]  # factor on what comes from before
    silent: Bool[Tensor, " now"]
    shares: int = 1  # above 1: so many indices, `before` apart, share the value that one had; they sum to it
    centred: bool = False  # whether the mean over this axis is subtracted from what was before

    @property
    def now(self) -> int:
        """Number of indices."""
        return len(self.origin)


def axis(before: int, origin: Int64[Tensor, " now"], *, silent: bool = False, scale: float = 1.0) -> Axis:
    """Return an axis with one scale, whose new indices are all silent or all free."""
    new = origin < 0
    return Axis(
        before=before, origin=origin, scale=torch.full((len(origin),), scale), silent=new if silent else new & False
    )


def first(before: int, now: int) -> Int64[Tensor, " now"]:
    """Return the origin that keeps every index and appends the new ones."""
    return torch.cat([torch.arange(before), torch.full((now - before,), -1)])


def joined(axes: Sequence[Axis]) -> Axis:
    """Return the concatenation of axes, as a fused weight has it."""
    offsets = [sum(part.before for part in axes[:index]) for index in range(len(axes))]
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
    """Return an axis that repeats all indices `now / before` times."""
    return axis(before, torch.arange(before).repeat(now // before))


def scaled(one: Axis, factor: float) -> Axis:
    """Return the axis with its scale multiplied by a factor."""
    return replace(one, scale=one.scale * factor)


@torch.no_grad()
@one_thread()  # sums would depend on their number
def grown(before: Tensor, default: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Return a tensor after the growth.

    Args:
        before: The tensor before, of size `axis.before` along each axis.
        default: Values for new entries, also used to make shares differ; of size `axis.now` along each axis.
        axes: One for each dimension.

    """
    values, now = before.float(), default.float().clone()
    for side, each in enumerate(axes):
        now.index_fill_(side, each.silent.nonzero().flatten(), 0.0)
        if each.centred:
            values = values - values.mean(side, keepdim=True)
    kept_indices = [(each.origin >= 0).nonzero().flatten() for each in axes]
    block = default.float()
    for side, (each, kept) in enumerate(zip(axes, kept_indices, strict=True)):
        shape = [-1 if other == side else 1 for other in range(len(axes))]
        factor = (each.scale[kept] / each.shares).view(shape)
        values = values.index_select(side, each.origin[kept]) * factor
        block = block.index_select(side, kept)
    for side, each in enumerate(axes):
        if each.shares > 1:
            values = values + _apart(block, side, each.shares)
    now[tuple(torch.meshgrid(*kept_indices, indexing="ij"))] = values
    return now.to(default.dtype)


def _apart(noise: Tensor, side: int, shares: int) -> Tensor:
    """Return the noise minus its mean over the shares, so that shares still sum to what they share."""
    parts = noise.unflatten(side, (shares, -1))
    return (parts - parts.mean(side, keepdim=True)).flatten(side, side + 1)
