"""What each axis of each slot of a network is, so that a donor's axis of the same kind can take its place.

Structure decides: the operation that uses a slot, the attention that it feeds, whether it makes the network's output.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Final, Literal, final

from paramgen.architectures import Architecture
from paramgen.graphs.analysis.addressed_slots import AddressedSlot, addressed_slots_of
from paramgen.graphs.analysis.attention import Attention, Share, attentions_of
from paramgen.graphs.analysis.model_families import TEXT_FAMILIES, ModelFamily
from paramgen.graphs.analysis.model_family import family_of
from paramgen.graphs.analysis.roles import Flow
from paramgen.graphs.ops import WEIGHT_OPS
from paramgen.graphs.schema import Graph, Node
from paramgen.initializers.inheritance.axes import Heads

SlotUse = Literal["map", "table", "vector"]
Outputs = Literal["channels", "query", "key", "value", "head by head", "classes", "tokens"]

_MAPS: Final = frozenset(("linear", "conv", "depthwise_conv", "dilated_conv", "transposed_conv", "recurrent"))
_THROUGH: Final = frozenset(
    "bias batch_norm relu gelu silu sigmoid tanh activation max_pool average_pool other multiply".split()
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPart:
    """Some outputs of a slot, from `start` to `stop`, and what they are; `heads` only of an attention's."""

    start: int
    stop: int
    outputs: Outputs = "channels"
    heads: Heads | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SlotAxes:
    """The axes of one slot. A map's are outputs, inputs and the kernel's, in whatever order they are stored."""

    use: SlotUse
    op: str
    parts: tuple[OutputPart, ...]
    in_out: bool = False  # stored with rows as inputs
    mixed: Heads | None = None  # the inputs are the outputs of these heads
    pixels: int = 1  # so many neighbouring inputs belong to one channel
    stem: bool = False  # the inputs are colours
    patches: bool = False  # it cuts an image into patches that do not overlap
    stride: int = 1
    groups: int = 1

    def part(self, outputs: Outputs) -> OutputPart | None:
        """Return the part whose outputs are of a kind; the whole where they are not told apart."""
        found = next((part for part in self.parts if part.outputs == outputs), None)
        return found or (self.parts[0] if len(self.parts) == 1 and self.parts[0].heads is None else None)


@final
@dataclass(frozen=True, kw_only=True)
class Network:
    """An architecture and its graph, and what is read off them."""

    architecture: Architecture
    graph: Graph

    @cached_property
    def family(self) -> ModelFamily:
        """The model family."""
        return family_of(self.graph)

    @cached_property
    def addressed(self) -> Mapping[str, AddressedSlot]:
        """The slots that have an address."""
        return addressed_slots_of(self.graph, self.architecture.manifest) if self.graph.ordered else {}

    @cached_property
    def flow(self) -> Flow:
        """The nodes before and after each node."""
        return Flow(self.graph)

    @cached_property
    def nodes(self) -> Mapping[str, int]:
        """The first node of each slot."""
        return self.graph.nodes_of_slot()

    def op(self, slot: str) -> str:
        """Return what uses a slot; nothing of a buffer, and of what no path reaches."""
        return self.graph.nodes[self.nodes[slot]].op if slot in self.nodes else ""

    @cached_property
    def ends_of_branches(self) -> frozenset[str]:
        """The weights at the ends of residual branches."""
        ends = self.flow.ends_of_branches() if self.graph.ordered else set()
        return frozenset(slot for node in ends if (slot := self.graph.nodes[node].slot) is not None)

    def behind(self, slot: str) -> list[str]:
        """Return the slots of what follows a weight right behind it: its bias, its norm and that one's bias."""
        found, at = [], self.nodes[slot]
        for _ in range(3):
            following = self.flow.after[at]
            if len(following) != 1 or self.graph.nodes[following[0]].op not in ("bias", "batch_norm"):
                break
            at = following[0]
            name = self.graph.nodes[at].slot
            if name is not None:
                found.append(name)
        return found

    @cached_property
    def heads(self) -> frozenset[str]:
        """The slots that make the network's output: its last linear maps and their biases."""
        if not self.graph.ordered:
            return frozenset()
        linear = [node for node in self.flow.ends_of_network() if self._makes_classes(self.graph.nodes[node])]
        biases = [after for node in linear for after in self.flow.after[node] if self.flow.op(after) == "bias"]
        return frozenset(slot for node in (*linear, *biases) if (slot := self.graph.nodes[node].slot) is not None)

    @staticmethod
    def _makes_classes(node: Node) -> bool:
        return node.op == "linear" or (node.op == "conv" and prod(node.shape[2:]) == 1)

    @cached_property
    def axes(self) -> Mapping[str, SlotAxes]:
        """The axes of every slot."""
        return {name: self._axes(name, slot.shape) for name, slot in self.architecture.manifest.items()}

    def _axes(self, slot: str, shape: tuple[int, ...]) -> SlotAxes:
        index = self.nodes.get(slot)
        if index is None:
            return SlotAxes(use="vector", op="", parts=(_whole(shape, 0),))
        node = self.graph.nodes[index]
        if node.op in _MAPS and len(shape) >= 2:
            return self._map(slot, shape, index)
        if node.op == "embedding":
            rows: Outputs = "tokens"
            return SlotAxes(use="table", op=node.op, parts=(OutputPart(start=0, stop=shape[0], outputs=rows),))
        owner = self._owner(index) if node.op == "bias" else None
        if owner is not None and len(shape) == 1:
            return SlotAxes(use="vector", op=node.op, parts=self._parts(owner, shape[0]))
        return SlotAxes(use="vector", op=node.op, parts=(_whole(shape, 0),))

    def _owner(self, index: int) -> str | None:
        """Return the weight in front of a bias."""
        before = self.flow.before[index]
        node = self.graph.nodes[before[0]] if len(before) == 1 else None
        return node.slot if node is not None and node.op in WEIGHT_OPS else None

    def _map(self, slot: str, shape: tuple[int, ...], index: int) -> SlotAxes:
        node = self.graph.nodes[index]
        in_out = node.op == "transposed_conv" or node.attributes.get("layout") == "in_out"
        stride, size = node.attributes.get("stride", 1), shape[2:]
        strides = stride if isinstance(stride, tuple) else (stride,)
        steps = tuple(int(step) for step in strides)
        inputs = shape[0] if in_out else shape[1]
        return SlotAxes(
            use="map",
            op=node.op,
            parts=self._parts(slot, shape[1] if in_out else shape[0]),
            in_out=in_out,
            mixed=self._mixing.get(slot),
            pixels=self._pixels(index, inputs) if node.op == "linear" else 1,
            stem=node.op == "conv" and len(shape) == 4 and inputs in (1, 3) and self._reads_input(index),
            patches=len(size) > 0
            and min(size) > 1
            and all(step == steps[-1] == side for step, side in zip((*steps, *steps)[: len(size)], size, strict=False)),
            stride=steps[-1] if steps else 1,
            groups=int(node.attributes.get("groups", 1)),  # type: ignore[arg-type]
        )

    def _reads_input(self, index: int) -> bool:
        met = self.flow.reach(self.flow.before, self.flow.before[index], through=_THROUGH | {"sum", "normalize"})
        return any(self.flow.op(node) == "input" for node in met)

    def _pixels(self, index: int, inputs: int) -> int:
        """Return how many inputs of a linear map belong to one channel of the image that was flattened for it."""
        met = self.flow.reach(self.flow.before, self.flow.before[index], through=_THROUGH)
        sources = [self.graph.nodes[node] for node in met if self.flow.op(node) in ("conv", "depthwise_conv")]
        width = sources[0].shape[0] if len(sources) == 1 and len(sources[0].shape) == 4 else 0
        return inputs // width if width and not inputs % width else 1

    def _parts(self, slot: str, outputs: int) -> tuple[OutputPart, ...]:
        if slot in self.heads:
            what: Outputs = "tokens" if self.family in TEXT_FAMILIES else "classes"
            return (OutputPart(start=0, stop=outputs, outputs=what),)
        return self._projecting.get(slot) or (OutputPart(start=0, stop=outputs),)

    @cached_property
    def _attentions(self) -> list[Attention]:
        return attentions_of(self.graph, self.architecture.manifest) if self.graph.ordered else []

    @cached_property
    def _projecting(self) -> Mapping[str, tuple[OutputPart, ...]]:
        """The outputs of each weight in front of an attention."""
        found: dict[str, list[OutputPart]] = {}
        for attention in self._attentions:
            heads = _heads_of(attention)
            for outputs in ("query", "key", "value"):
                share: Share | None = getattr(attention, outputs)
                part = None if share is None else _part_of(share, outputs, heads)
                if share is not None and part is not None:
                    found.setdefault(share.slot, []).append(part)
        return {slot: _in_order(parts) for slot, parts in found.items()}

    @cached_property
    def _mixing(self) -> Mapping[str, Heads]:
        """The heads whose outputs a weight reads."""
        return {each.project.slot: _heads_of(each) for each in self._attentions if each.project is not None}


def _heads_of(attention: Attention) -> Heads:
    return Heads(count=attention.heads, shared=len(attention.key.rows), width=attention.head_width)


def _part_of(share: Share, outputs: Literal["query", "key", "value"], heads: Heads) -> OutputPart | None:
    """Return the rows of one projection; of weights that have them head by head, all three."""
    first, last = share.rows[0], share.rows[-1]
    if share.rows == tuple(range(first, last + 1, heads.width)):
        return OutputPart(start=first, stop=last + heads.width, outputs=outputs, heads=heads)
    if outputs != "query":
        return None
    packed = replace(heads, width=3 * heads.width)
    return OutputPart(start=first, stop=last + packed.width, outputs="head by head", heads=packed)


def _in_order(parts: list[OutputPart]) -> tuple[OutputPart, ...]:
    return tuple(sorted(parts, key=lambda part: part.start))


def _whole(shape: tuple[int, ...], axis: int) -> OutputPart:
    return OutputPart(start=0, stop=shape[axis] if shape else 1)
