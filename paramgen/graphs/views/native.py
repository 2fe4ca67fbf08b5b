"""Our own graph as a hypernet sees it."""

from typing import Final

import numpy as np
import torch
from jaxtyping import UInt8

from paramgen.errors import GraphError
from paramgen.graphs.analysis.addressed_slots import addressed_slots_of
from paramgen.graphs.analysis.slot_roles import Role, role_of
from paramgen.graphs.ops import INDEX
from paramgen.graphs.schema import Graph, Node
from paramgen.graphs.views.view import SlotRequest, View
from paramgen.graphs.views.virtual_edges import virtual_edges
from paramgen.slots.manifest import Manifest, Slot

_POOLS: Final = frozenset(("max_pool", "average_pool"))


def native_view(graph: Graph, manifest: Manifest, cutoff: int | None = 50) -> View:
    """Return what a hypernet of the native vocabulary sees of `graph`; slots it cannot fill are not requested.

    Distances take time and memory by the square of the number of nodes: without a cutoff there are none.
    """
    return View(
        primitives=torch.tensor([INDEX[node.op] for node in graph.nodes], dtype=torch.int64),
        shapes=tuple(_shape(node) for node in graph.nodes),
        distances=torch.from_numpy(_distances(graph, cutoff)),
        requests=_requests(graph, manifest),
        addressed_slots=addressed_slots_of(graph, manifest),
    )


def _distances(graph: Graph, cutoff: int | None) -> UInt8[np.ndarray, "nodes nodes"]:
    return np.empty((0, 0), dtype=np.uint8) if cutoff is None else virtual_edges(graph.edges, len(graph), cutoff)


def _shape(node: Node) -> tuple[int, ...] | None:
    """Return the shape to encode: a parameter's as (out, in, ...), a pool's window; other nodes have none."""
    if node.slot is not None:
        return node.shape[::-1] if _in_out(node) else node.shape
    kernel = node.attributes.get("kernel")
    if node.op not in _POOLS or kernel is None:
        return None
    sizes = kernel if isinstance(kernel, tuple) else (int(kernel),) * 2
    return (1, 1, *sizes[-2:])


def _requests(graph: Graph, manifest: Manifest) -> tuple[SlotRequest, ...]:
    requests = []
    for name, index in graph.nodes_of_slot().items():
        if name not in manifest:
            raise GraphError(f"Node {index} holds {name!r}, which is no slot: give graph and manifest of one network.")
        node, slot = graph.nodes[index], manifest[name]
        role = _role(node, slot)
        if role is not None:
            requests.append(SlotRequest(name, index, role, slot.shape, role == "weight" and _in_out(node)))
    return tuple(requests)


def _role(node: Node, slot: Slot) -> Role | None:
    """Return what the slot is to a hypernet, None for slots that keep their default initialization."""
    if slot.kind != "parameter" or not slot.dtype.is_floating_point or not np.all(slot.shape):
        return None
    role = role_of(node)
    return None if role is None or len(slot.shape) != len(node.shape) else role.predicted


def _in_out(node: Node) -> bool:
    return node.attributes.get("layout") == "in_out" and len(node.shape) == 2
