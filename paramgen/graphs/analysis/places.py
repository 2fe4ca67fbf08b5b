"""Where each slot of an image classifier or a language model stands: the address under which networks share weights.

Two networks of one family are different graphs of the same places: a place is what a weight does (3x3, depthwise,
pointwise, ...), what its data comes from and goes to (the residual stream, another weight, an attention), at which
scale of the image, and how far along the depth. Norms, biases and layer scales stand with the weight they belong to.
Texts have no scale: there the way of telling positions stands in its place, since it decides what attention learns.
The idea of one set of weights for networks of many widths and depths is Once-for-All's (Cai et al., 2020,
arXiv:1908.09791); here the address is read off the graph, so that any network has it.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import isqrt, prod
from typing import Final, Literal, final

from paramgen.graphs.analysis.attention import Attention, attentions_of
from paramgen.graphs.analysis.neighbours import Neighbours
from paramgen.graphs.ops import NORMS
from paramgen.graphs.schema import Graph, Node
from paramgen.slots.manifest import Manifest

Form = Literal["weight", "vector", "position", "table"]
WORDS: Final = "words"
"""What the table of tokens is called, and every network that is a language model has."""
_BEHIND: Final[Mapping[str, str]] = {"weight": "bias", "post_scale": "post_bias", "pre_scale": "pre_bias"}
"""Part that a bias is, by the part in front of it."""


@final
@dataclass(frozen=True, slots=True)
class Piece:
    """Some outputs of a slot, from `start` to `stop`, and the shared weight that they are cut from."""

    name: str  # what it does and its scale: `stream>conv3>conv@2`, or with the attention's part `...@tokens:query`
    start: int
    stop: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one slot stands."""

    slot: str
    shape: tuple[int, ...]  # the slot's own
    form: Form
    part: str  # weight, bias, pre_/post_ scale and bias of a norm, layer_scale, position, class_token
    pieces: tuple[Piece, ...]
    turn: int = 0  # how many weights of its name come before it
    turns: int = 1  # how many there are
    in_out: bool = False  # stored with rows as inputs

    @property
    def grey(self) -> bool:
        """Whether it reads images without colours."""
        return self.form == "weight" and self.pieces[0].name.startswith("stem") and self.shape[1] == 1

    @property
    def depth(self) -> float:
        """How far along the depth it stands, from 0 to 1."""
        return self.turn / (self.turns - 1) if self.turns > 1 else 0.0


def places_of(graph: Graph, manifest: Manifest) -> dict[str, Place]:
    """Return the place of each slot that has one; empty for what neither classifies images nor looks up tokens."""
    reader = _Reader(graph, manifest)
    weights = reader.weights()
    names = {piece.name for place in weights.values() for piece in place.pieces}
    classifies = any(name.startswith("stem") for name in names) and any(name.startswith("head") for name in names)
    if not classifies and not any(name.startswith(WORDS) for name in names):
        return {}
    return weights | reader.vectors(weights)


@final
class _Reader:
    def __init__(self, graph: Graph, manifest: Manifest) -> None:
        self.nodes = graph.nodes
        self.near = Neighbours(graph)
        self.first = graph.nodes_of_slot()
        self.manifest = manifest
        self.shares = _shares(attentions_of(graph, manifest))

    def weights(self) -> dict[str, Place]:
        """Return the places of weights, with their turns."""
        found = {slot: self._weight(slot, index) for slot, index in self.first.items()}
        places = {slot: place for slot, place in found.items() if place is not None}
        order: dict[str, list[str]] = defaultdict(list)
        for slot, place in places.items():
            order[place.pieces[0].name].append(slot)
        for slots in order.values():
            for turn, slot in enumerate(slots):
                places[slot] = replace(places[slot], turn=turn, turns=len(slots))
        return places

    def _weight(self, slot: str, index: int) -> Place | None:
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
        name = self._name(index, kind, outputs)
        if name.startswith("head@") and not in_out:
            return Place(slot=slot, shape=shape, form="table", part="weight", pieces=(Piece(name, 0, outputs),))
        shares = self.shares.get(slot)
        if shares is None:
            pieces: tuple[Piece, ...] = (Piece(name, 0, outputs),)
        else:
            pieces = tuple(Piece(f"{name}:{part}", start, stop) for part, start, stop in shares)
        return Place(slot=slot, shape=shape, form="weight", part="weight", pieces=pieces, in_out=in_out)

    def _table(self, slot: str, index: int) -> Place | None:
        """Return the place of a table of tokens or of positions."""
        near, shape = self.near, self.manifest[slot].shape
        if len(shape) != 2 or near.input or not (near.looks_up(index) or near.looks_up_positions(index)):
            return None
        name = f"{WORDS if near.looks_up(index) else 'positions'}@{near.tokens}"
        return Place(slot=slot, shape=shape, form="table", part="weight", pieces=(Piece(name, 0, shape[0]),))

    def _name(self, index: int, kind: str, outputs: int) -> str:
        near, stride = self.near, self.near.stride(index)
        if near.is_stem(index):
            return f"stem{self.nodes[index].shape[-1]}by{stride}"
        behind, ahead = near.behind(index), near.ahead(index)
        if ahead == "output":
            return f"head{outputs}" if near.input else f"head@{near.tokens}"
        return f"{behind}>{kind}{'s' if stride > 1 else ''}>{ahead}@{near.scale(index)}"

    def vectors(self, weights: Mapping[str, Place]) -> dict[str, Place]:
        """Return the places of norms, biases, layer scales, position tables and class tokens."""
        found: dict[str, Place] = {}
        place: Place | None
        parts = {self.first[slot]: (slot, "weight") for slot in weights}  # node: the weight it belongs to, and as what
        tables = {slot for slot, place in weights.items() if place.form == "table"}
        for slot, index in self.first.items():
            node = self.nodes[index]
            if slot in weights or not self.manifest[slot].dtype.is_floating_point:
                continue
            if node.op == "parameter":
                place = self._parameter(slot, index, parts, weights)
            else:
                owner = self._owner(index, node, parts, tables)
                if owner is None or owner[0] not in weights:
                    continue
                parts[index] = owner
                place = _vector(slot, self.manifest[slot].shape, owner[1], weights[owner[0]])
            if place is not None:
                found[slot] = place
        return found

    def _owner(
        self, index: int, node: Node, parts: Mapping[int, tuple[str, str]], tables: Collection[str]
    ) -> tuple[str, str] | None:
        """Return the weight that a norm or bias belongs to: the one in front of it, else the next one behind it."""
        before = self.near.before[index]
        owner = parts.get(before[0]) if len(before) == 1 else None
        if node.op == "bias":
            return (owner[0], _BEHIND[owner[1]]) if owner and owner[1] in _BEHIND else None
        if node.op not in NORMS:
            return None
        if owner and owner[1] in ("weight", "bias") and owner[0] not in tables:
            return owner[0], "post_scale"
        following = self.near.next_weight(index)
        slot = None if following is None else self.nodes[following].slot
        return None if slot is None else (slot, "pre_scale")

    def _parameter(
        self, slot: str, index: int, parts: Mapping[int, tuple[str, str]], weights: Mapping[str, Place]
    ) -> Place | None:
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


def _shares(attentions: list[Attention]) -> dict[str, tuple[tuple[str, int, int], ...]]:
    """Return for each weight in front of an attention its parts: name, first row, row behind the last."""
    found: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    for attention in attentions:
        for part in ("query", "key", "value"):
            share = getattr(attention, part)
            width = attention.head_width
            if share is not None and share.rows == tuple(range(share.rows[0], share.rows[-1] + 1, width)):
                found[share.slot].append((part, share.rows[0], share.rows[-1] + width))
    return {slot: tuple(shares) for slot, shares in found.items()}


def _vector(slot: str, shape: tuple[int, ...], part: str, owner: Place) -> Place:
    """Return the place of a vector of its owner; what comes before an attention belongs to all of its parts."""
    pieces = owner.pieces
    if part.startswith("pre_"):
        pieces = (Piece(pieces[0].name.partition(":")[0], 0, -1),)
    elif part == "layer_scale" or len(pieces) == 1:
        pieces = (replace(pieces[0], start=0, stop=-1),)
    return Place(slot=slot, shape=shape, form="vector", part=part, pieces=pieces, turn=owner.turn, turns=owner.turns)


def _alone(slot: str, shape: tuple[int, ...], form: Form, part: str) -> Place:
    return Place(slot=slot, shape=shape, form=form, part=part, pieces=(Piece(part, 0, shape[-1]),))
