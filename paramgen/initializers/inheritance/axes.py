"""One axis of a tensor that comes from a donor: which of the donor's indices each new one takes, and at which weight.

Index `i` of `now` takes `i * had // now` of the donor's `had`. Where the axis shrinks this is selection at even
distances (Xu et al., 2024, arXiv:2311.18823); where it grows, neighbours are copies of each other (Net2Net, Chen et
al., 2016, arXiv:1511.05641). The same formula holds for every weight that reads or writes the same channels, and for
channels that are joined or cut in equal parts, so that all of them agree. A weight that reads copies shares what it was
among them, and so computes what it did.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

Operator = Literal["exact", "select", "grow", "pool", "resize", "repeat"]
OPERATORS: Final[tuple[Operator, ...]] = ("exact", "select", "grow", "pool", "resize", "repeat")
"""What can be done to an axis, in the order in which a rule names them; `repeat` is done to blocks."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AxisMap:
    """For each index, those of the donor that are added for it, and the factor on each; -1 for one that has none."""

    had: int
    sources: Int64[Tensor, "terms now"]
    factors: Float[Tensor, "terms now"]
    operator: Operator
    copies: int = 1  # at most so many indices share what one had, neighbours of each other

    @property
    def now(self) -> int:
        """Number of indices."""
        return self.sources.shape[1]

    @property
    def known(self) -> Int64[Tensor, " known"]:
        """The indices that take something of the donor."""
        return (self.sources[0] >= 0).nonzero().flatten()

    @property
    def same(self) -> bool:
        """Whether nothing is changed."""
        return self.operator == "exact"

    def taken(self, values: Tensor, axis: int) -> Tensor:
        """Return what the known indices take along an axis of the donor's values."""
        if self.same:
            return values
        known = self.known
        if len(self.sources) == 1:
            values = values.index_select(axis, self.sources[0, known])
            factors = self.factors[0, known]
            return values if bool((factors == 1).all()) else values.float() * _along(factors, values.dim(), axis)
        terms = zip(self.sources[:, known], self.factors[:, known], strict=True)
        first, *rest = (values.index_select(axis, at).float() * _along(by, values.dim(), axis) for at, by in terms)
        for term in rest:
            first += term
        return first


def even(had: int, now: int) -> Int64[Tensor, " now"]:
    """Return for each of `now` indices the one of `had` that it takes."""
    return torch.arange(now) * had // max(now, 1)


def channels(had: int, now: int, *, shared: bool = False, pixels: int = 1) -> AxisMap:
    """Return the map of an axis of channels.

    Args:
        had: The donor's number of indices.
        now: How many there are to be.
        shared: Whether the axis is read, so that copies share what one had.
        pixels: How many neighbours belong to one channel and are kept together.

    """
    if had == now:
        return whole(had)
    if pixels > 1 and not had % pixels and not now % pixels:
        inside = torch.arange(pixels)
        index = (even(had // pixels, now // pixels).view(-1, 1) * pixels + inside).flatten()
    else:
        index = even(had, now)
    return _from(index, had, shared=shared)


def whole(size: int) -> AxisMap:
    """Return the map that changes nothing."""
    return AxisMap(had=size, sources=torch.arange(size)[None], factors=torch.ones(1, size), operator="exact")


def first_rows(had: int, now: int) -> AxisMap:
    """Return the map of a table's rows: the first ones, as those of frequent tokens and early positions are."""
    rows = torch.arange(now)
    return chosen_rows(torch.where(rows < had, rows, -1), had)


def chosen_rows(rows: Int64[Tensor, " now"], had: int) -> AxisMap:
    """Return the map that takes certain rows; -1 where the donor has none."""
    same = len(rows) == had and bool((rows == torch.arange(had)).all())
    ones = torch.ones(1, len(rows))
    return AxisMap(had=had, sources=rows[None], factors=ones, operator="exact" if same else "select")


def colours(had: int, now: int) -> AxisMap:
    """Return the map of the colours that a first layer reads: all are added where the images are grey."""
    if now == 1 and had > 1:
        return AxisMap(had=had, sources=torch.arange(had)[:, None], factors=torch.ones(had, 1), operator="pool")
    return channels(had, now, shared=True)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """The heads of an attention; keys and values have `shared`, of which each serves several queries."""

    count: int
    shared: int
    width: int


def query_rows(had: Heads, now: Heads, *, shared: bool = False) -> AxisMap:
    """Return the map of the rows that make queries, heads whole; or of what reads the heads' outputs."""
    if had == now:
        return whole(had.count * had.width)
    return _from(_rows(even(had.count, now.count), had, now), had.count * had.width, shared=shared)


def shared_rows(had: Heads, now: Heads) -> AxisMap:
    """Return the map of the rows that make keys or values: of the heads that the queries of each head read before.

    Where one head replaces several, it is their mean (Ainslie et al., 2023, arXiv:2305.13245).
    """
    if had == now:
        return whole(had.shared * had.width)
    queries = even(had.count, now.count)
    per_head, before = now.count // now.shared, had.count // had.shared
    read = [sorted(set((queries[at : at + per_head] // before).tolist())) for at in range(0, now.count, per_head)]
    size = had.shared * had.width
    if all(len(heads) == 1 for heads in read):
        return _from(_rows(torch.tensor(read).flatten(), had, now), size, shared=False)
    terms = max(map(len, read))
    padded = torch.tensor([[*heads, *[heads[0]] * (terms - len(heads))] for heads in read]).t()
    parts = torch.tensor([[1 / len(heads)] * len(heads) + [0.0] * (terms - len(heads)) for heads in read]).t()
    return AxisMap(
        had=size,
        sources=torch.stack([_rows(heads, had, now) for heads in padded]),
        factors=parts.repeat_interleave(now.width, 1),
        operator="pool",
    )


def _rows(heads: Int64[Tensor, " heads"], had: Heads, now: Heads) -> Int64[Tensor, " rows"]:
    return (heads.view(-1, 1) * had.width + even(had.width, now.width)).flatten()


def _from(index: Int64[Tensor, " now"], had: int, *, shared: bool) -> AxisMap:
    """Return the map of one source for each index."""
    if len(index) == had and bool((index == torch.arange(had)).all()):
        return whole(had)
    counts = torch.bincount(index, minlength=had)
    factors = 1 / counts[index].float() if shared else torch.ones(len(index))
    most = int(counts.max()) if len(index) else 1
    operator: Operator = "grow" if most > 1 else "select"
    return AxisMap(had=had, sources=index[None], factors=factors[None], operator=operator, copies=most if shared else 1)


def evenly_copied(maps: Sequence[AxisMap]) -> bool:
    """Whether every index of the donor is there, each equally often: then a norm over the axis sees what it saw."""
    return all(each.same or _evenly(each) for each in maps)


def _evenly(each: AxisMap) -> bool:
    counts = torch.bincount(each.sources[0].clamp(min=0), minlength=each.had)
    return each.operator == "grow" and bool((counts == counts[0]).all())


def _along(factors: Float[Tensor, " known"], dimensions: int, axis: int) -> Tensor:
    return factors.view([-1 if at == axis else 1 for at in range(dimensions)])
