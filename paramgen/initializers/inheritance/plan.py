"""The plan of an inheritance: for each slot the pieces it is made of, known before a tensor is read.

Slots are paired by their names where both networks name their parts alike, and by their addresses elsewhere.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, final

import torch

from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.addressed_slots import Slice
from paramgen.graphs.analysis.model_families import a_family
from paramgen.initializers.inheritance.axes import OPERATORS, AxisMap, chosen_rows, evenly_copied, whole
from paramgen.initializers.inheritance.by_address import taken_by_address
from paramgen.initializers.inheritance.by_name import aligned
from paramgen.initializers.inheritance.donor import ADVICE, Donor, class_names
from paramgen.initializers.inheritance.network import Network, OutputPart, SlotAxes
from paramgen.initializers.inheritance.pieces import Piece, Sides, piece_of
from paramgen.slots.manifest import Slot

INHERITED: Final = "inherit"
_ALIKE: Final = 0.9
"""The share of a network's elements that must be found by name, and be for the same, so that names decide."""
_HALF: Final = 0.5
"""The same of two networks that are of no known family, whose slots have no addresses in common."""
_KEEPING: Final = ("residual_cnn", "vision_transformer", "staged_transformer", "convnext", "plain_cnn", "mlp")
"""Families in which channels are only read by weights and by norms, so that growth in whole multiples is exact."""

Pair = tuple[OutputPart, str, OutputPart]
"""Outputs of a slot, a slot of the donor, and that one's outputs."""


@final
@dataclass(frozen=True, kw_only=True)
class InheritancePlan:
    """What each slot takes; slots without an entry take nothing."""

    donor: Donor
    network: Network
    pieces: Mapping[str, tuple[Piece, ...]]
    by_name: bool
    head: str  # what is done with the output's classes, in a sentence; empty where there is nothing to say

    def rule(self, slot: Slot) -> str:
        """Return the rule of a slot that takes something: all that is done to its pieces."""
        done = {operator for piece in self.pieces[slot.name] for operator in piece.operators}
        return f"{INHERITED}:{'+'.join(operator for operator in OPERATORS if operator in done) or 'exact'}"

    def covered(self, slot: Slot) -> int:
        """Return how many elements of a slot are the donor's."""
        return sum(piece.elements for piece in self.pieces[slot.name])

    @property
    def share(self) -> float:
        """How much of the network's floating-point elements is the donor's."""
        slots = [slot for slot in self.network.architecture.manifest.values() if _inheritable(slot)]
        found = sum(self.covered(slot) for slot in slots if slot.name in self.pieces)
        return found / max(1, sum(slot.elements for slot in slots))

    @property
    def keeps_function(self) -> bool:
        """Whether the network is known to compute what the donor does, constants such as a norm's epsilon aside.

        So it is where every slot takes something, nothing is left out, each axis has its indices equally often, and
        both networks run the same operations, of a family in which nothing else looks at single channels.
        """
        mine, theirs = self.network, self.donor.network
        slots = [slot for slot in mine.architecture.manifest.values() if _inheritable(slot)]
        if mine.family not in _KEEPING or any(self._changed(slot) for slot in slots):
            return False
        operations = [_operation(mine, at) for at in range(len(mine.graph))]
        if any(operation[0] == "normalize" for operation in operations):
            return False
        return operations == [_operation(theirs, at) for at in range(len(theirs.graph))]

    def _changed(self, slot: Slot) -> bool:
        pieces = self.pieces.get(slot.name, ())
        exact = all(
            evenly_copied(piece.axes)
            and piece.change in ("none", "pad")
            and not piece.repeated
            and not (piece.grid and piece.grid.had != piece.grid.now)
            for piece in pieces
        )
        return not exact or sum(piece.elements for piece in pieces) != slot.elements


def plan_of(donor: Donor, network: Network, *, head: bool, among: frozenset[str] | None = None) -> InheritancePlan:
    """Return the plan; all that is stored for it is known to be there, and to have the right shape.

    Args:
        donor: The trained model.
        network: The one that is to be filled.
        head: Whether the output's rows are taken, where their classes are known to be the same.
        among: The slots that may take something; without it, all.

    Raises:
        OptionError: Nothing fits, or the donor lacks a tensor.

    """
    theirs = donor.network
    names = frozenset(network.architecture.manifest) if among is None else among
    pairs, by_name = _pairs(network, theirs, names)
    classes, said = _classes(network, donor) if head else (None, "")
    pieces: dict[str, tuple[Piece, ...]] = {}
    for name, slot in network.architecture.manifest.items():
        if name in pairs and name in names and slot.tied_to is None and (head or name not in network.heads):
            made = [_piece(network, theirs, slot, pair, classes) for pair in pairs[name]]
            found = tuple(piece for piece in made if piece is not None and piece.elements)
            if found:
                pieces[name] = found
    if not pieces:
        raise _unlike(network, donor, names)
    for donor_slot in {piece.donor for found in pieces.values() for piece in found}:
        donor.stored(donor_slot)
    weakened = _weakened(network, pieces)
    return InheritancePlan(donor=donor, network=network, pieces=weakened, by_name=by_name, head=said)


def _inheritable(slot: Slot) -> bool:
    return slot.dtype.is_floating_point and slot.tied_to is None


def _operation(network: Network, at: int) -> tuple[object, ...]:
    node = network.graph.nodes[at]
    groups = 0 if node.op == "depthwise_conv" else node.attributes.get("groups", 1)
    return node.op, node.attributes.get("stride"), groups


def _piece(network: Network, theirs: Network, slot: Slot, pair: Pair, classes: AxisMap | None) -> Piece | None:
    part, donor_slot, donor_part = pair
    sides = Sides(
        mine=network.axes[slot.name],
        theirs=theirs.axes[donor_slot],
        shape=slot.shape,
        donor_shape=theirs.architecture.manifest[donor_slot].shape,
        donor=donor_slot,
        part=part,
        donor_part=donor_part,
        images=any(node.op == "input" and len(node.shape) == 4 for node in network.graph.nodes),
    )
    return piece_of(sides, classes)


def _pairs(network: Network, theirs: Network, among: frozenset[str]) -> tuple[dict[str, list[Pair]], bool]:
    """Return what each slot takes, and whether names decided."""
    named = _named(network, theirs, among)
    enough = _HALF if network.family == theirs.family == "other" else _ALIKE
    if _alike(network, theirs, named, among, enough=enough):
        return {name: _parts(network.axes[name], other, theirs.axes[other]) for name, other in named.items()}, True
    if network.family != theirs.family or network.family == "other":
        return {}, False
    taken = taken_by_address(network.addressed, theirs.addressed)
    pairs = {
        name: [
            (_part(network.axes[name], one.mine), one.donor, _part(theirs.axes[one.donor], one.theirs)) for one in found
        ]
        for name, found in taken.items()
    }
    return pairs | _statistics(network, theirs, pairs), False


def _named(network: Network, theirs: Network, among: frozenset[str]) -> dict[str, str]:
    """Return the donor's name for each slot, where one of the two may have a prefix that the other lacks."""
    slots = network.architecture.manifest
    mine, other = (
        {name: len(slot.shape) for name, slot in each.architecture.manifest.items() if slot.dtype.is_floating_point}
        for each in (network, theirs)
    )
    mine = {name: size for name, size in mine.items() if name in among}
    found = [aligned(mine, other)]
    for prefix in _prefixes(mine):
        inner = {name.removeprefix(prefix): size for name, size in mine.items() if name.startswith(prefix)}
        found.append({prefix + name: donor for name, donor in aligned(inner, other).items()})
    for prefix in _prefixes(other):
        inner = {name.removeprefix(prefix): size for name, size in other.items() if name.startswith(prefix)}
        found.append({name: prefix + donor for name, donor in aligned(mine, inner).items()})
    return max(found, key=lambda pairs: sum(slots[name].elements for name in pairs))


def _prefixes(names: Mapping[str, int]) -> list[str]:
    """Return the words, but numbers, that most names begin with, such as that of the model in front of a head."""
    words = Counter(name.partition(".")[0] for name in names if "." in name)
    return [f"{word}." for word, count in words.items() if 2 * count > len(names) and not word.isdigit()]


def _alike(
    network: Network, theirs: Network, named: Mapping[str, str], among: frozenset[str], *, enough: float
) -> bool:
    """Whether names find enough, and what they find is for the same; of a part, nearly all of the donor will do."""
    slots = network.architecture.manifest
    sizes = {
        name: slots[name].elements for name in slots if name in among - network.heads and _inheritable(slots[name])
    }
    found = Counter[bool]()
    for name, size in sizes.items():
        found[_same(network, name, theirs, named)] += size
    if found[True] >= enough * sum(sizes.values()) > 0:
        return True
    part = len(among) < len(slots)
    return part and _taken_of(theirs, {named[name] for name in sizes if _same(network, name, theirs, named)}) >= _ALIKE


def _same(network: Network, name: str, theirs: Network, named: Mapping[str, str]) -> bool:
    return name in named and _for_the_same(network, name, theirs, named[name])


def _taken_of(donor: Network, names: set[str]) -> float:
    """Return how much of a donor, but for its output, some of its slots are."""
    slots = donor.architecture.manifest
    own = [name for name in slots if name not in donor.heads and _inheritable(slots[name])]
    return sum(slots[name].elements for name in own if name in names) / max(
        1, sum(slots[name].elements for name in own)
    )


def _for_the_same(network: Network, name: str, theirs: Network, other: str) -> bool:
    ops = network.op(name), theirs.op(other)
    if ops[0] != ops[1]:
        return False
    mine, its = network.addressed.get(name), theirs.addressed.get(other)
    if mine is None or its is None or mine.address.operation is None or its.address.operation is None:
        return True
    ours, donors = (
        [word.rstrip("s").rstrip("0123456789") for word in each.address.function.split(">")] for each in (mine, its)
    )
    kernels = [each.address.operation for each in (mine, its)]
    return ours == donors and not any("pw" in str(kernel) for kernel in kernels if kernels[0] != kernels[1])


def _parts(mine: SlotAxes, donor_slot: str, theirs: SlotAxes) -> list[Pair]:
    """Pair the outputs of two slots of one name: by what they are, or all with all."""
    if [part.outputs for part in mine.parts] == [part.outputs for part in theirs.parts]:
        return [(part, donor_slot, other) for part, other in zip(mine.parts, theirs.parts, strict=True)]
    return [(_joined(mine), donor_slot, _joined(theirs))]


def _joined(axes: SlotAxes) -> OutputPart:
    return OutputPart(start=0, stop=max(part.stop for part in axes.parts))


def _part(axes: SlotAxes, at: Slice) -> OutputPart:
    """Return the outputs of a slice, as what they are known."""
    stop = _joined(axes).stop if at.stop is None else at.stop
    known = next((part for part in axes.parts if (part.start, part.stop) == (at.start, stop)), None)
    return known or OutputPart(start=at.start, stop=stop)


def _statistics(network: Network, theirs: Network, pairs: Mapping[str, list[Pair]]) -> dict[str, list[Pair]]:
    """Return the running means and variances of the norms whose scales are taken."""
    manifest, donors = network.architecture.manifest, theirs.architecture.manifest
    owners: dict[str, str] = {}
    for name, found in pairs.items():
        if network.op(name) == "batch_norm":
            owners.setdefault(manifest[name].owner, donors[found[0][1]].owner)
    result: dict[str, list[Pair]] = {}
    for name, slot in manifest.items():
        other = f"{owners.get(slot.owner, '')}.{name.rpartition('.')[2]}".lstrip(".")
        if name not in pairs and slot.owner in owners and _inheritable(slot) and other in donors:
            result[name] = _parts(network.axes[name], other, theirs.axes[other])
    return result


def _classes(network: Network, donor: Donor) -> tuple[AxisMap | None, str]:
    """Return the map of the rows of classes, and what is assumed of them; None where they are others."""
    counts = [
        next((each.axes[name].parts[0].stop for name in each.heads if each.axes[name].parts[0].outputs == "classes"), 0)
        for each in (network, donor.network)
    ]
    if not all(counts):
        return None, ""
    now, had = counts
    mine, theirs = class_names(network.architecture.layout.config), class_names(donor.config)
    if mine is not None and theirs is not None and (len(mine), len(theirs)) == (now, had):
        rows = {label: index for index, label in enumerate(theirs)}
        found = torch.tensor([rows.get(label, -1) for label in mine])
        known = int((found >= 0).sum())
        return (
            chosen_rows(found, had) if known else None
        ), f"{known} of {now} classes are the donor's, by their names."
    if now == had:
        return whole(now), f"The {now} classes are assumed to be the donor's; with ?head=false they are not."
    return None, f"The donor has {had} classes, this network {now}: its output keeps its default initialization."


def _weakened(network: Network, pieces: Mapping[str, tuple[Piece, ...]]) -> dict[str, tuple[Piece, ...]]:
    """Divide what repeated blocks add to the residual stream by how often they are repeated."""
    shapes = {name: slot.shape for name, slot in network.architecture.manifest.items()}
    uses = Counter((piece.donor, piece.first, shapes[name]) for name, found in pieces.items() for piece in found)
    result = dict(pieces)
    for name, found in pieces.items():
        if network.axes[name].use == "map":
            result[name] = tuple(
                replace(piece, repeated=uses[piece.donor, piece.first, shapes[name]] > 1) for piece in found
            )
    for name in network.ends_of_branches:
        times = max((uses[piece.donor, piece.first, shapes[name]] for piece in pieces.get(name, ())), default=1)
        if times == 1:
            continue
        behind = [other for other in network.behind(name) if other in pieces]
        normed = [other for other in behind if network.op(other) == "batch_norm"]
        for other in behind[behind.index(normed[-1]) :] if normed else (name, *behind):
            result[other] = tuple(replace(piece, factor=piece.factor / times) for piece in result[other])
    return result


def _unlike(network: Network, donor: Donor, among: frozenset[str]) -> OptionError:
    if len(among) < len(network.architecture.manifest):
        return OptionError(
            f"Nothing of {donor.path!r} fits the slots of {network.architecture.spec} that are left for it, "
            f"{one_line(min(among))!r} for instance. Give another donor, or leave it out"
        )
    mine, theirs = a_family(network.family), a_family(donor.network.family)
    near = "" if network.family == "other" else f" Give a donor that is {mine}."
    return OptionError(
        f"Nothing of {donor.path!r}, {theirs} ({donor.network.architecture.spec}), fits "
        f"{network.architecture.spec}, {mine}.{near} {ADVICE}"
    )
