"""The role of each parameter, by one table, and which of these roles a hypernet is requested to fill.

A role is recognized by what the node does, by the number of its dimensions and, for a parameter that enters an ordinary
operation from the side, by that operation. To know one more role, add a row; the first that fits counts. Whatever no
row fits is `unknown`, which `library` fills.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, final

from paramgen.graphs.ops import NORMS
from paramgen.graphs.schema import Graph, Node
from paramgen.slots.manifest import Manifest

Role = Literal["weight", "scale", "bias", "embedding", "position", "class_weight", "class_bias"]
"""`scale` is a norm's 1-D weight, `embedding` a weight that is never normalised, `class_*` the last layer where a
hypernet treats it apart."""

UNKNOWN: Final = "unknown"


@final
@dataclass(frozen=True, slots=True)
class SlotRole:
    """One row. `predicted` is the role in which a native hypernet fills the slot; None: `library` fills it."""

    name: str
    operations: frozenset[str]  # of the node
    dimensions: range
    predicted: Role | None = None
    enters: frozenset[str] = frozenset()  # of the nodes that it goes to; empty: any


def _row(
    name: str, operations: str, least: int, most: int, *, predicted: Role | None = None, enters: str = ""
) -> SlotRole:
    return SlotRole(name, frozenset(operations.split()), range(least, most + 1), predicted, frozenset(enters.split()))


SLOT_ROLES: Final[tuple[SlotRole, ...]] = (
    _row("weight of a linear map", "linear", 2, 2, predicted="weight"),
    _row("stacked linear maps", "linear", 3, 4, predicted="weight"),  # of experts, a matrix each
    _row("convolution", "conv", 3, 4, predicted="weight"),
    _row("convolution of volumes", "conv depthwise_conv dilated_conv", 5, 5),
    _row("depthwise filter", "depthwise_conv", 3, 4, predicted="weight"),
    _row("dilated convolution", "dilated_conv", 3, 4, predicted="weight"),
    _row("transposed convolution", "transposed_conv", 3, 5),
    _row("embedding", "embedding", 2, 2),
    _row("recurrent matrix", "recurrent", 2, 2),
    _row("norm scale", " ".join(sorted(NORMS)), 1, 1, predicted="scale"),
    _row("bias", "bias", 1, 1, predicted="bias"),
    _row("gate", "parameter", 0, 8, enters="multiply"),  # layer scales, mixing factors, temperatures
    _row("position table", "parameter", 2, 8, enters="sum"),
    _row("shift", "parameter", 0, 1, enters="sum"),
    _row("token", "parameter", 1, 8, enters="concat"),
    _row("matrix from the side", "parameter", 2, 8, enters="matmul attention"),
)
"""Every role that is known, the most specific first."""


def role_of(node: Node, following: Sequence[str] = ()) -> SlotRole | None:
    """Return the row that fits a node and the operations that it goes to; None where none does."""
    for role in SLOT_ROLES:
        fits = node.op in role.operations and len(node.shape) in role.dimensions
        if fits and (not role.enters or not role.enters.isdisjoint(following)):
            return role
    return None


def elements_by_role(graph: Graph, manifest: Manifest) -> Mapping[str, int]:
    """Return the number of elements in each role, the largest first; buffers are `buffer`."""
    following: dict[int, list[str]] = {}
    for source, target in graph.edges.tolist():
        following.setdefault(source, []).append(graph.nodes[target].op)
    counts: Counter[str] = Counter()
    nodes = graph.nodes_of_slot()
    for slot in manifest.filled:
        if slot.kind != "parameter":
            counts["buffer"] += slot.elements
            continue
        index = nodes.get(slot.name)
        role = None if index is None else role_of(graph.nodes[index], following.get(index, ()))
        counts[UNKNOWN if role is None else role.name] += slot.elements
    return {name: count for name, count in counts.most_common() if count}
