"""The output of a language model: the linear map onto its vocabulary, and what stands between it and the stream.

Read off the graph alone: the head is the linear map that is returned, with as many outputs as the table of tokens has
rows. Nothing may scale or cap what it returns, as then a bias would say something else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

from paramgen.graphs.analysis.roles import Flow
from paramgen.graphs.ops import NORMS
from paramgen.graphs.schema import Graph, Node
from paramgen.slots.manifest import Manifest

_VECTORS: Final = NORMS | {"bias"}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageHead:
    """Where a language model says how likely each token is; every field but the sizes is the name of a slot."""

    rows: int  # tokens
    width: int  # channels of the stream
    table: str  # of the tokens that are read
    weight: str  # of the head; `table` where they share a tensor
    in_out: bool  # whether the head is stored with rows as inputs
    bias: str | None = None  # added to what the head returns
    gain: str | None = None  # of the normalization right before the head
    shift: str | None = None  # of the same one
    writers: tuple[tuple[str, int], ...] | None = None
    """What adds to the stream that this normalization reads, besides the table, and the axis of its channels; None
    where that cannot be followed, or the table itself does not."""

    @property
    def tied(self) -> bool:
        """Whether the head's weight is the table of the tokens that are read."""
        return self.weight == self.table

    @property
    def channels(self) -> int:
        """The axis of the channels in the head's weight."""
        return 0 if self.in_out else 1


def language_head_of(graph: Graph, manifest: Manifest) -> LanguageHead | None:
    """Return the head of a language model; None where the network returns nothing of the kind."""
    flow = Flow(graph)
    tables = [node for index, node in enumerate(graph.nodes) if _looks_up(flow, index)]
    for index, bias in _returned(flow):
        node = graph.nodes[index]
        table = next((table for table in tables if _fits(node, table, manifest)), None)
        if table is not None and table.slot is not None and node.slot is not None:
            rows, width = table.shape
            gain, shift, stream = _normalization(flow, index)
            writers = None if stream is None else _writers(flow, stream, table.slot, width)
            return LanguageHead(
                rows=rows,
                width=width,
                table=table.slot,
                weight=node.slot,
                in_out=_in_out(node),
                bias=bias,
                gain=gain,
                shift=shift,
                writers=writers,
            )
    return None


def _looks_up(flow: Flow, index: int) -> bool:
    """Whether a node is a table that tokens, which are given, are looked up in."""
    node = flow.nodes[index]
    before = flow.before[index]
    return node.op == "embedding" and len(node.shape) == 2 and any(flow.op(each) == "input" for each in before)


def _fits(head: Node, table: Node, manifest: Manifest) -> bool:
    if len(head.shape) != 2 or head.slot is None or not manifest[head.slot].dtype.is_floating_point:
        return False
    return (head.shape[::-1] if _in_out(head) else head.shape) == table.shape


def _in_out(node: Node) -> bool:
    return node.attributes.get("layout") == "in_out"


def _returned(flow: Flow) -> Iterator[tuple[int, str | None]]:
    """Yield the linear maps that the network returns, with the bias behind each, if there is one."""
    for index, node in enumerate(flow.nodes):
        for last in flow.before[index] if node.op == "output" else ():
            bias, before = None, [last]
            if flow.op(last) == "bias":
                bias, before = flow.nodes[last].slot, flow.before[last]
            if len(before) == 1 and flow.op(before[0]) == "linear":
                yield before[0], bias


def _normalization(flow: Flow, head: int) -> tuple[str | None, str | None, int | None]:
    """Return gain and shift of the normalization right before the head, and the node that it reads."""
    shift, before = None, flow.before[head]
    if len(before) == 1 and flow.op(before[0]) == "bias":
        shift, before = flow.nodes[before[0]].slot, flow.before[before[0]]
    if len(before) != 1 or flow.op(before[0]) not in ("layer_norm", "rms_norm"):
        return None, None, None
    stream = flow.before[before[0]]
    return flow.nodes[before[0]].slot, shift, stream[0] if len(stream) == 1 else None


def _writers(flow: Flow, stream: int, table: str, width: int) -> tuple[tuple[str, int], ...] | None:
    """Return each slot that adds to the stream, and the axis of its channels."""
    found: dict[str, int] = {}
    stack, met, begins = [stream], set[int](), False
    while stack:
        index = stack.pop()
        if index in met:
            continue
        met.add(index)
        node, before = flow.nodes[index], flow.before[index]
        flow.step(1 + len(before))
        if node.op in ("sum", "bias"):
            stack += before
        if node.op == "sum":
            continue
        if node.slot == table and _looks_up(flow, index):
            begins = True
            continue
        axis = _channels(node)
        if axis is None or node.slot is None or node.shape[axis] != width:
            return None
        found[node.slot] = axis
    return tuple(found.items()) if begins else None


def _channels(node: Node) -> int | None:
    """Return the axis of a node's parameter that counts the channels that it adds to; None where that is not known."""
    if node.op in _VECTORS:
        return 0 if len(node.shape) == 1 else None
    if node.op == "linear" and len(node.shape) == 2:
        return 1 if _in_out(node) else 0
    if node.op in ("embedding", "parameter") and len(node.shape) >= 2:
        return len(node.shape) - 1
    return None
