"""Which of a donor's slots each slot takes by its address: across libraries, depths, stages and kinds of blocks.

Weights of one address but for the depth are a group. A group takes the donor's nearest one: at the stage that lies as
far along the network, between the same neighbours, of the same kind of operation; a 3x3 convolution may become a 1x1,
but neither becomes depthwise. Inside a group the depth decides. Norms, biases and layer scales follow their weight.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf, log
from typing import Final, NamedTuple, final

from paramgen.graphs.analysis.address import Address
from paramgen.graphs.analysis.addressed_slots import AddressedSlot, Slice
from paramgen.initializers.inheritance.by_name import spread

FARTHEST: Final = 2.0
"""A group further away than this is another thing."""
_NEIGHBOUR: Final = 1.0  # another operation before it, or behind it
_HIDDEN: Final = 0.25  # one hidden weight instead of another
_KERNEL: Final = 0.25
_DENSE: Final = 1.5  # a pointwise map instead of a convolution
_STRIDE: Final = 0.25
_STAGE: Final = 0.75  # for each stage further


class Taken(NamedTuple):
    """Some outputs of a slot, and those of a donor's slot that they take."""

    mine: Slice
    donor: str
    theirs: Slice


@final
@dataclass(frozen=True)
class _Group:
    """Weights that differ in the depth alone, in forward order."""

    function: str
    stage: int | None  # from 0, among the scales of the network's weights; None where there is no image
    stages: int
    projection: str | None

    def distance(self, other: "_Group") -> float:
        """Return how far a donor's group is; infinite where it is another thing."""
        mine, theirs = Address(self.function), Address(other.function)
        if self.projection != other.projection or (mine.stem is None) != (theirs.stem is None):
            return inf
        if mine.stem is not None and theirs.stem is not None:
            return 0.1 * sum(abs(log(ours / its)) for ours, its in zip(mine.stem, theirs.stem, strict=True))
        if mine.head or theirs.head:
            return 0.0 if mine.head and theirs.head else inf
        if mine.operation is None or theirs.operation is None:
            return 0.0 if self.function == other.function else inf
        return self._between_operations(other)

    def _between_operations(self, other: "_Group") -> float:
        behind, operation, ahead = self.function.split(">")
        before, their_operation, after = other.function.split(">")
        if any((ahead == kind) != (after == kind) for kind in ("attention", "gate")):
            return inf
        if any((behind == kind) != (before == kind) for kind in ("attention", "pool")):
            return inf
        found = _beside(behind, before) + _beside(ahead, after) + _between(operation, their_operation)
        if self.stage is None or other.stage is None:
            return found if self.stage == other.stage else inf
        return found + _STAGE * abs(spread(other.stages, self.stages, self.stage) - other.stage)


def _beside(mine: str, theirs: str) -> float:
    """Return the distance of two neighbours."""
    return 0.0 if mine == theirs else _HIDDEN if {mine, theirs} <= {"conv", "pw", "dw"} else _NEIGHBOUR


def _between(mine: str, theirs: str) -> float:
    """Return the distance of two operations such as `conv3`, `dw7s` and `pw`."""
    stride = _STRIDE * (mine.endswith("s") != theirs.endswith("s"))
    mine, theirs = mine.rstrip("s"), theirs.rstrip("s")
    if mine == theirs:
        return stride
    ours, its = mine.rstrip("0123456789"), theirs.rstrip("0123456789")
    if ours == its:
        return stride + _KERNEL
    return inf if "dw" in (ours, its) else stride + _DENSE


def taken_by_address(
    mine: Mapping[str, AddressedSlot], theirs: Mapping[str, AddressedSlot]
) -> dict[str, tuple[Taken, ...]]:
    """Return what the outputs of each slot take; those that have no counterpart are left out."""
    weights = _matched(_groups(mine), _groups(theirs))
    by_address = {part.address: (name, part) for name, slot in theirs.items() for part in slot.slices}
    found: dict[str, tuple[Taken, ...]] = {}
    for name, slot in mine.items():
        taken = [Taken(part, *at) for part in slot.slices if (at := _donor(part, weights, by_address)) is not None]
        if taken:
            found[name] = tuple(taken)
    return found


def _donor(
    part: Slice, weights: Mapping[Address, Address], known: Mapping[Address, tuple[str, Slice]]
) -> tuple[str, Slice] | None:
    """Return the donor's slot and slice for one of mine: that of the weight, or what belongs to it."""
    own = replace(part.address, part="weight")
    weight = weights.get(own)
    if weight is None:
        return known.get(part.address) if part.address.operation is None and not part.address.stem else None
    at = replace(weight, part=part.address.part)
    return known.get(at) or known.get(replace(at, projection=None))


def _matched(mine: Mapping[_Group, list[Address]], theirs: Mapping[_Group, list[Address]]) -> dict[Address, Address]:
    """Return the donor's weight for each of mine; also for that without a projection, as a norm before it has it."""
    found: dict[Address, Address] = {}
    for group, addresses in mine.items():
        near = min(theirs, key=group.distance, default=None)
        if near is None or group.distance(near) > FARTHEST:
            continue
        others = theirs[near]
        for index, address in enumerate(addresses):
            other = others[spread(len(others), len(addresses), index)]
            found[address] = other
            found.setdefault(replace(address, projection=None), other)
    return found


def _groups(slots: Mapping[str, AddressedSlot]) -> dict[_Group, list[Address]]:
    """Return the addresses of weights by group, each in order of depth."""
    weights = [part.address for slot in slots.values() for part in slot.slices if part.address.part == "weight"]
    scales = sorted({address.scale for address in weights if isinstance(address.scale, int)})
    found: dict[_Group, list[Address]] = defaultdict(list)
    for address in sorted(weights, key=lambda address: address.depth_index):
        number = scales.index(address.scale) if isinstance(address.scale, int) else None
        found[_Group(address.function, number, len(scales), address.projection)].append(address)
    return found
