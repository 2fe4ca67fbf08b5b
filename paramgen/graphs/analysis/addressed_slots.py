"""The addresses of the slots of an image classifier or a language model, under which networks share weights.

Two networks of one family are different graphs with the same addresses. An address says what a weight does (3x3,
depthwise, pointwise, ...), what its data comes from and goes to (the residual stream, another weight, an attention), at
which scale of the image, and how far along the depth. Norms, biases and layer scales have the address of the weight
they belong to. Texts have no scale: the way positions are encoded takes its place, since it decides what attention
learns.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import isqrt, prod
from typing import Final, Literal, final

from paramgen.graphs.analysis.address import HEAD, POSITION_TABLE, TOKEN_TABLE, Address
from paramgen.graphs.analysis.attention import Attention, attentions_of
from paramgen.graphs.analysis.neighbours import Neighbours
from paramgen.graphs.ops import NORMS
from paramgen.graphs.schema import Graph, Node
from paramgen.slots.manifest import Manifest

SlotForm = Literal["weight", "vector", "position", "table"]
_BIAS_AFTER: Final[Mapping[str, str]] = {"weight": "bias", "post_scale": "post_bias", "pre_scale": "pre_bias"}
"""The part that a bias is, by the part in front of it."""


@final
@dataclass(frozen=True, slots=True)
class Slice:
    """Some outputs of a slot, from `start` to `stop`, and the address of the shared weight that they are cut from."""

    address: Address
    start: int
    stop: int | None  # None: to the end


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AddressedSlot:
    """One slot as a supernet fills it: cut into slices, each with its address."""

    slot: str
    shape: tuple[int, ...]  # the slot's own
    form: SlotForm
    slices: tuple[Slice, ...]
    depth_count: int = 1  # how many weights of the network differ from it in the depth index alone, itself included
    in_out: bool = False  # stored with rows as inputs

    @property
    def address(self) -> Address:
        """The address of its first slice; the others differ in the projection."""
        return self.slices[0].address

    @property
    def grey(self) -> bool:
        """Whether it reads images without colours."""
        return self.form == "weight" and self.address.stem is not None and self.shape[1] == 1

    @property
    def depth(self) -> float:
        """How far along the depth it is, from 0 to 1."""
        return self.address.depth_index / (self.depth_count - 1) if self.depth_count > 1 else 0.0


def addressed_slots_of(graph: Graph, manifest: Manifest) -> dict[str, AddressedSlot]:
    """Return each slot that has an address, by name; none of what neither classifies images nor looks up tokens."""
    reader = _AddressReader(graph, manifest)
    weights = reader.weights()
    addresses = [part.address for slot in weights.values() for part in slot.slices]
    classifies = any(address.stem for address in addresses) and any(address.head for address in addresses)
    if not classifies and not any(address.function == TOKEN_TABLE for address in addresses):
        return {}
    return weights | reader.vectors(weights)


@final
class _AddressReader:
    def __init__(self, graph: Graph, manifest: Manifest) -> None:
        self.nodes = graph.nodes
        self.near = Neighbours(graph)
        self.first = graph.nodes_of_slot()
        self.manifest = manifest
        self.projections = _projections(attentions_of(graph, manifest))

    def weights(self) -> dict[str, AddressedSlot]:
        """Return the weights, with their depth indices."""
        found = {slot: self._weight(slot, index) for slot, index in self.first.items()}
        weights = {slot: weight for slot, weight in found.items() if weight is not None}
        order: dict[Address, list[str]] = defaultdict(list)
        for slot, weight in weights.items():
            order[weight.address].append(slot)
        for slots in order.values():
            for depth_index, slot in enumerate(slots):
                weights[slot] = _at_depth(weights[slot], depth_index, len(slots))
        return weights

    def _weight(self, slot: str, index: int) -> AddressedSlot | None:
        node = self.nodes[index]
        kind = self.near.kind(index)
        shape = self.manifest[slot].shape
        if node.op == "embedding":
            return self._table(slot, index)
        if (
            not kind
            or len(shape) not in (2, 4)
            or self.near.mixes_tokens(index)
            or self.manifest[slot].dtype.is_complex
        ):
            return None
        in_out = node.op == "linear" and node.attributes.get("layout") == "in_out"
        outputs = shape[1] if in_out else shape[0]
        address = self._address(index, kind, outputs)
        whole: tuple[Slice, ...] = (Slice(address, 0, outputs),)
        if address.function == HEAD and not in_out:
            return AddressedSlot(slot=slot, shape=shape, form="table", slices=whole)
        projections = self.projections.get(slot)
        if projections is not None:
            whole = tuple(Slice(replace(address, projection=name), start, stop) for name, start, stop in projections)
        return AddressedSlot(slot=slot, shape=shape, form="weight", slices=whole, in_out=in_out)

    def _table(self, slot: str, index: int) -> AddressedSlot | None:
        """Return a table of tokens or of positions; None for other tables."""
        near, shape = self.near, self.manifest[slot].shape
        if len(shape) != 2 or near.input or not (near.looks_up(index) or near.looks_up_positions(index)):
            return None
        address = Address(TOKEN_TABLE if near.looks_up(index) else POSITION_TABLE, near.tokens)
        return AddressedSlot(slot=slot, shape=shape, form="table", slices=(Slice(address, 0, shape[0]),))

    def _address(self, index: int, kind: str, outputs: int) -> Address:
        near, stride = self.near, self.near.stride(index)
        if near.is_stem(index):
            return Address(f"stem{self.nodes[index].shape[-1]}by{stride}")
        behind, ahead = near.behind(index), near.ahead(index)
        if ahead == "output":
            return Address(f"{HEAD}{outputs}") if near.input else Address(HEAD, near.tokens)
        return Address(f"{behind}>{kind}{'s' if stride > 1 else ''}>{ahead}", near.scale(index))

    def vectors(self, weights: Mapping[str, AddressedSlot]) -> dict[str, AddressedSlot]:
        """Return norms, biases, layer scales, position tables and class tokens, where they have an address."""
        found: dict[str, AddressedSlot] = {}
        vector: AddressedSlot | None
        parts = {self.first[slot]: (slot, "weight") for slot in weights}  # node: the weight it belongs to, and as what
        tables = {slot for slot, weight in weights.items() if weight.form == "table"}
        for slot, index in self.first.items():
            node = self.nodes[index]
            if slot in weights or not self.manifest[slot].dtype.is_floating_point:
                continue
            if node.op == "parameter":
                vector = self._parameter(slot, index, parts, weights)
            else:
                owner = self._owner(index, node, parts, tables)
                if owner is None or owner[0] not in weights:
                    continue
                parts[index] = owner
                vector = _vector(slot, self.manifest[slot].shape, owner[1], weights[owner[0]])
            if vector is not None:
                found[slot] = vector
        return found

    def _owner(
        self, index: int, node: Node, parts: Mapping[int, tuple[str, str]], tables: Collection[str]
    ) -> tuple[str, str] | None:
        """Return the weight that a norm or bias belongs to: the one in front of it, else the next one behind it."""
        before = self.near.before[index]
        owner = parts.get(before[0]) if len(before) == 1 else None
        if node.op == "bias":
            return (owner[0], _BIAS_AFTER[owner[1]]) if owner and owner[1] in _BIAS_AFTER else None
        if node.op not in NORMS:
            return None
        if owner and owner[1] in ("weight", "bias") and owner[0] not in tables:
            return owner[0], "post_scale"
        following = self.near.next_weight(index)
        slot = None if following is None else self.nodes[following].slot
        return None if slot is None else (slot, "pre_scale")

    def _parameter(
        self, slot: str, index: int, parts: Mapping[int, tuple[str, str]], weights: Mapping[str, AddressedSlot]
    ) -> AddressedSlot | None:
        shape, after = self.manifest[slot].shape, self.near.after[index]
        use = self.nodes[after[0]].op if after else ""
        if len(shape) == 3 and shape[0] == 1 and shape[1] > 1 and use == "sum":
            side = isqrt(shape[1])
            whole = side**2 in (shape[1], shape[1] - 1)
            return _alone(slot, shape, "position", "position") if whole else None
        if len(shape) == 3 and shape[:2] == (1, 1) and use == "concat":
            return _alone(slot, shape, "vector", "class_token")
        if use == "multiply" and max(shape, default=0) == prod(shape):
            owner = self.near.owner_behind(after[0], index, parts)
            return None if owner is None else _vector(slot, shape, "layer_scale", weights[owner])
        return None


def _projections(attentions: list[Attention]) -> dict[str, tuple[tuple[str, int, int], ...]]:
    """Return for each weight in front of an attention its projections: name, first row, row behind the last."""
    found: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    for attention in attentions:
        for name in ("query", "key", "value"):
            share = getattr(attention, name)
            width = attention.head_width
            if share is not None and share.rows == tuple(range(share.rows[0], share.rows[-1] + 1, width)):
                found[share.slot].append((name, share.rows[0], share.rows[-1] + width))
    return {slot: tuple(projections) for slot, projections in found.items()}


def _at_depth(weight: AddressedSlot, depth_index: int, depth_count: int) -> AddressedSlot:
    slices = tuple(replace(part, address=replace(part.address, depth_index=depth_index)) for part in weight.slices)
    return replace(weight, slices=slices, depth_count=depth_count)


def _vector(slot: str, shape: tuple[int, ...], part: str, owner: AddressedSlot) -> AddressedSlot:
    """Return a vector that belongs to a weight; what comes before an attention belongs to all of its projections."""
    slices = tuple(replace(each, address=replace(each.address, part=part)) for each in owner.slices)
    first = slices[0].address
    if part.startswith("pre_"):
        slices = (Slice(replace(first, projection=None), 0, None),)
    elif part == "layer_scale" or len(slices) == 1:
        slices = (Slice(first, 0, None),)
    return AddressedSlot(slot=slot, shape=shape, form="vector", slices=slices, depth_count=owner.depth_count)


def _alone(slot: str, shape: tuple[int, ...], form: SlotForm, part: str) -> AddressedSlot:
    return AddressedSlot(slot=slot, shape=shape, form=form, slices=(Slice(Address(part, part=part), 0, shape[-1]),))
