"""Where a network attends to itself: which rows of which weights make queries, keys and values, and what comes after.

Structure decides: an attention node (or softmax between two products), the linear weights that feed it, the first one
behind it. Names decide only what no graph shows, by the two tables here: which of three equal weights makes the
values, and the few classes that store queries, keys and values of one weight head by head.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, final

from paramgen.graphs.analysis.roles import Flow
from paramgen.graphs.ops import WEIGHT_OPS
from paramgen.graphs.schema import Graph
from paramgen.slots.manifest import Manifest

PROJECTION_NAMES: Final[Mapping[str, frozenset[str]]] = {
    "query": frozenset(("q", "wq", "query", "q_proj", "to_q", "q_lin", "query_proj", "q_proj_weight")),
    "key": frozenset(("k", "wk", "key", "k_proj", "to_k", "k_lin", "key_proj", "k_proj_weight")),
    "value": frozenset(("v", "wv", "value", "v_proj", "to_v", "v_lin", "value_proj", "v_proj_weight")),
}
"""What the modules of the libraries call the weight of each: the last word of its path that is not `weight`."""

HEAD_BY_HEAD: Final = frozenset(("query_key_value",))
"""Fused weights (GPT-NeoX, BLOOM) whose rows go q, k, v of the first head, then of the next; others go q, k, v."""

MAX_HEADS_SEEN: Final = 10_000
WIDEST: Final = 16
"""What is attended to is at most so many times as wide as all heads together."""

_BETWEEN: Final = frozenset(
    "bias sum multiply concat negate normalize gather other parameter rms_norm layer_norm matmul".split()
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Some rows of a weight: `rows[h]` is where those of head `h` begin."""

    slot: str
    rows: tuple[int, ...]
    in_out: bool  # stored with outputs as columns


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """One self-attention: head `h` of the queries reads key and value head `h * kv_heads // heads`."""

    width: int  # of what is attended to
    head_width: int
    query: Share
    key: Share
    value: Share | None  # None where the values read something else
    project: Share | None  # the whole weight that mixes the heads' outputs; None where there is no single one

    @property
    def heads(self) -> int:
        """Number of query heads."""
        return len(self.query.rows)

    @property
    def slots(self) -> tuple[str, ...]:
        """The weights that it is made of, each once."""
        shares = (self.query, self.key, self.value, self.project)
        return tuple(dict.fromkeys(share.slot for share in shares if share is not None))


def attentions_of(graph: Graph, manifest: Manifest) -> list[Attention]:
    """Return every self-attention whose queries and keys are linear maps of one and the same input, in forward order.

    Left out are cross-attention, and attention whose weights convolve, are shared in odd shapes or cannot be
    distinguished. A weight that is used by several attentions counts for the first.
    """
    flow, found, taken = Flow(graph), [], set[str]()
    for index, node in enumerate(graph.nodes):
        heads_of = _attending(flow, index)
        if heads_of is None:
            continue
        group = _group(flow, manifest, node.shape[-1], heads_of)
        if group is None:
            continue
        if taken.isdisjoint(group.slots):
            found.append(group)
            taken.update(group.slots)
    return found


def _attending(flow: Flow, index: int) -> "_AttentionNodes | None":
    """Return where an attention is, if one ends at the node: a fused one, or the product behind a softmax."""
    op, shape = flow.op(index), flow.nodes[index].shape
    if len(shape) < 3:
        return None
    heads = shape[-3] if len(shape) > 3 else None
    if op == "attention":
        return _AttentionNodes(index, index, heads)
    if op == "matmul":
        for source in flow.before[index]:
            if flow.op(source) == "softmax":
                return _AttentionNodes(index, source, heads)
    return None


@final
@dataclass(frozen=True, slots=True)
class _AttentionNodes:
    end: int
    scores: int  # the node that has queries and keys behind it, and values only where it is `end`
    heads: int | None


def _group(flow: Flow, manifest: Manifest, head_width: int, found: _AttentionNodes) -> Attention | None:
    weights = _feeding(flow, found.end)
    slots = [slot for index in weights if (slot := flow.nodes[index].slot) is not None]
    if not weights or len(set(slots)) != len(weights) or any(len(manifest[slot].shape) != 2 for slot in slots):
        return None
    if len(weights) == 1:
        shares = _fused(flow, weights[0], head_width, found.heads)
        sources = [flow.before[weights[0]]] * 3
    elif len(weights) == 3:
        ordered = _by_projection(flow, weights, found)
        if _sizes(flow, ordered[0])[1] != _sizes(flow, ordered[1])[1]:  # only a graph that no network has
            return None
        shares = _whole(flow, ordered, head_width)
        sources = [flow.before[index] for index in ordered]
    else:
        return None
    if shares is None or sources[0] != sources[1]:
        return None
    query, key, value = shares
    width = _sizes(flow, weights[0])[1]
    if len(query.rows) % len(key.rows) or len(key.rows) != len(value.rows) or head_width > width:
        return None
    if width > WIDEST * len(query.rows) * head_width:
        return None
    reads_same = _sizes(flow, weights[-1])[1] == width
    return Attention(
        width=width,
        head_width=head_width,
        query=query,
        key=key,
        value=value if reads_same else None,
        project=_projection(flow, found.end, len(query.rows) * head_width, width) if reads_same else None,
    )


def _feeding(flow: Flow, end: int) -> list[int]:
    """Return the weights that data passes last before an attention, if all of them are linear."""
    through = _BETWEEN | {flow.op(end), "softmax"}
    met = flow.reach(flow.before, flow.before[end], through=through)
    weights = sorted(node for node in met if flow.op(node) in WEIGHT_OPS and flow.before[node])
    # A mask made with `x.new_zeros` leads past the queries to what x came from: that is no nearer than they are.
    weights = [node for node in weights if not any(flow.comes_from(other, node) for other in weights if other > node)]
    return weights if all(flow.op(node) == "linear" for node in weights) else []


def _sizes(flow: Flow, index: int) -> tuple[int, int]:
    """Return outputs and inputs of a linear weight."""
    node = flow.nodes[index]
    rows, columns = node.shape
    return (columns, rows) if node.attributes.get("layout") == "in_out" else (rows, columns)


def _whole(flow: Flow, weights: list[int], head_width: int) -> tuple[Share, ...] | None:
    outs = [_sizes(flow, index)[0] for index in weights]
    if any(not _divides(head_width, out) for out in outs):
        return None
    return tuple(
        _share(flow, index, tuple(range(0, out, head_width))) for index, out in zip(weights, outs, strict=True)
    )


def _divides(head_width: int, out: int) -> bool:
    """Whether a weight's outputs are whole heads, and no more of them than any network has."""
    return 0 < head_width <= out <= head_width * MAX_HEADS_SEEN and out % head_width == 0


def _fused(flow: Flow, index: int, head_width: int, heads: int | None) -> tuple[Share, ...] | None:
    """Cut one weight into queries, keys and values; keys and values may have fewer heads than queries."""
    slot, out = flow.nodes[index].slot or "", _sizes(flow, index)[0]
    if not _divides(head_width, out):
        return None
    total = out // head_width
    queries = heads if heads is not None else total // 3
    others, odd = divmod(total - queries, 2)
    if odd or others < 1 or queries < 1:
        return None
    if _word(slot) in HEAD_BY_HEAD:
        if others != queries:
            return None
        starts = [[(3 * head + part) * head_width for head in range(queries)] for part in range(3)]
    else:
        bounds = (0, queries, queries + others, total)
        starts = [[head * head_width for head in range(bounds[part], bounds[part + 1])] for part in range(3)]
    return tuple(_share(flow, index, tuple(rows)) for rows in starts)


def _share(flow: Flow, index: int, rows: tuple[int, ...]) -> Share:
    node = flow.nodes[index]
    return Share(slot=node.slot or "", rows=rows, in_out=node.attributes.get("layout") == "in_out")


def _by_projection(flow: Flow, weights: list[int], found: _AttentionNodes) -> list[int]:
    """Return the weights of queries, keys and values: by where they enter, by name, or in the order of execution."""
    if found.scores != found.end:
        through = _BETWEEN | {"softmax"}
        scored = flow.reach(flow.before, flow.before[found.scores], through=through)
        values = [index for index in weights if index not in scored]
        if len(values) == 1:
            rest = [index for index in weights if index != values[0]]
            return [*_by_name(flow, rest, ("query", "key")), *values]
    return _by_name(flow, weights, ("query", "key", "value"))


def _by_name(flow: Flow, weights: list[int], roles: tuple[Literal["query", "key", "value"], ...]) -> list[int]:
    words = {_word(flow.nodes[index].slot or ""): index for index in weights}
    ordered = [index for role in roles for word, index in words.items() if word in PROJECTION_NAMES[role]]
    return ordered if sorted(ordered) == sorted(weights) else weights


def _word(slot: str) -> str:
    parts = [part for part in slot.split(".") if part != "weight"]
    return parts[-1] if parts else ""


def _projection(flow: Flow, end: int, inputs: int, width: int) -> Share | None:
    """Return the one linear weight behind an attention that leads back to the width of what was attended to."""
    met = flow.reach(flow.after, flow.after[end], through=frozenset(("other", "layer_norm", "rms_norm", "bias")))
    linear = [node for node in met if flow.op(node) == "linear"]
    if len(linear) != 1 or flow.nodes[linear[0]].slot is None or len(flow.nodes[linear[0]].shape) != 2:
        return None
    if _sizes(flow, linear[0]) != (width, inputs):
        return None
    return _share(flow, linear[0], (0,))
