"""A graph as JSON: enough to predict from, which is what a client sends and a server reads.

`{"paramgen_graph": 1, "spec", "traced_by", "layout", "nodes", "edges", "slots"}`; a slot carries the draw of its
library, so that whoever reads the graph needs neither the library nor the module. Everything read is hostile until
checked: size first, then structure, then every draw, dry, on the meta device.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import numpy as np
import torch

from paramgen.architectures import Architecture, Layout
from paramgen.errors import GraphError, OutputError
from paramgen.graphs.draw_json import check_draw, draw_from_json, draw_to_json
from paramgen.graphs.schema import MAX_NODES, VERSION, Graph, Node, validate_shape
from paramgen.manifest import Manifest, Slot

MAX_BYTES: Final = 100_000_000
_KEYS: Final = frozenset(("paramgen_graph", "spec", "traced_by", "layout", "nodes", "edges", "slots"))
_LAYOUTS: Final = frozenset(("model.safetensors", "diffusion_pytorch_model.safetensors"))


def graph_to_json(architecture: Architecture, graph: Graph) -> str:
    """Write graph, manifest and layout as one JSON object."""
    layout = architecture.layout
    return json.dumps(
        {
            "paramgen_graph": VERSION,
            "spec": architecture.spec,
            "traced_by": graph.traced_by,
            "layout": {
                "source": layout.source,
                "config": dict(layout.config),
                "weights_file": layout.weights_file,
                "shardable": layout.shardable,
                "tied": layout.tied,
                "dtype_key": layout.dtype_key,
            },
            **_structure(graph),
            "slots": [_slot_to_json(slot) for slot in architecture.manifest.values()],
        },
        separators=(",", ":"),
    )


def graph_from_json(text: str) -> tuple[Architecture, Graph]:
    """Read what `graph_to_json` wrote.

    Raises:
        GraphError: It is no such JSON, of another version, or breaks a limit.
    """
    data = _parse(text)
    try:
        slots = tuple(_slot_from_json(item) for item in _list(data["slots"], "slots"))
        manifest = _manifest(slots)
        nodes = tuple(_node_from_json(item) for item in _list(data["nodes"], "nodes"))
        edges = np.array(_list(data["edges"], "edges", MAX_NODES * 10), dtype=np.int64).reshape(-1, 2)
        layout = _layout(data["layout"])
        graph = Graph(nodes, edges, str(data["traced_by"]))
    except GraphError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, AttributeError) as error:
        raise GraphError(f"Not a graph of version {VERSION}: {type(error).__name__}: {error}. {_ADVICE}") from error
    _check_nodes(graph, manifest)
    for slot in manifest.filled:
        if slot.draw is not None:
            check_draw(slot.draw, slot)
    return Architecture(spec=str(data["spec"]), manifest=manifest, layout=layout), graph


def graph_hash(graph: Graph) -> str:
    """Return the sha256 of nodes and edges: two networks of the same structure have the same."""
    return sha256(json.dumps(_structure(graph), separators=(",", ":"), sort_keys=True).encode()).hexdigest()


_ADVICE: Final = "Make one with: paramgen graph --arch NAME --out g.json"


def _structure(graph: Graph) -> dict[str, Any]:
    return {
        "nodes": [
            {
                "op": node.op,
                "name": node.name,
                "slot": node.slot,
                "shape": list(node.shape),
                "attributes": {key: list(v) if isinstance(v, tuple) else v for key, v in node.attributes.items()},
            }
            for node in graph.nodes
        ],
        "edges": graph.edges.tolist(),
    }


def _parse(text: str) -> dict[str, Any]:
    if len(text) > MAX_BYTES:
        raise GraphError(f"A graph of {len(text):,} bytes; at most {MAX_BYTES:,} are read.")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GraphError(f"Not JSON: {error}. {_ADVICE}") from error
    if not isinstance(data, dict) or "paramgen_graph" not in data:
        raise GraphError(f"JSON, but not a graph: the key 'paramgen_graph' is missing. {_ADVICE}")
    if data["paramgen_graph"] != VERSION:
        raise GraphError(f"A graph of version {data['paramgen_graph']!r}; this paramgen reads version {VERSION}.")
    if set(data) != _KEYS:
        odd = sorted(_KEYS ^ set(data))
        raise GraphError(f"A graph has the keys {', '.join(sorted(_KEYS))}; missing or unknown: {', '.join(odd)}.")
    return data


def _list(value: Any, what: str, most: int = MAX_NODES) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        given = len(value) if isinstance(value, list) else type(value).__name__
        raise GraphError(f"{what!r} is a list of at most {most:,} entries; given was {given}.")
    return value


def _node_from_json(item: Mapping[str, Any]) -> Node:
    shape = _shape(item["shape"], "A node")
    attributes = {str(key): _attribute(value) for key, value in item.get("attributes", {}).items()}
    slot = item["slot"]
    return Node(
        op=str(item["op"]),
        name=str(item["name"]),
        slot=None if slot is None else str(slot),
        shape=shape,
        attributes=attributes,
    )


def _attribute(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(int(item) for item in value)
    if isinstance(value, (int, float, str)):
        return value
    raise GraphError(f"A node's attributes are numbers, texts or lists of integers; given was {value!r}.")


def _shape(value: Sequence[Any], what: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(size) is int for size in value):
        raise GraphError(f"{what} has the shape {value!r}; a shape is a list of integers.")
    shape = tuple(value)
    validate_shape(shape, what)
    return shape


def _slot_to_json(slot: Slot) -> dict[str, Any]:
    if slot.draw is not None and slot.draw.kept and slot.tied_to is None:
        raise OutputError(
            f"Slot {slot.name!r} keeps the value it has in memory, which a graph cannot carry. Give the architecture "
            "as a name or as file.py:factory."
        )
    return {
        "name": slot.name,
        "shape": list(slot.shape),
        "dtype": str(slot.dtype).removeprefix("torch."),
        "kind": slot.kind,
        "owner": slot.owner,
        "owner_type": slot.owner_type,
        "tied_to": slot.tied_to,
        "draw": None if slot.draw is None or slot.tied_to is not None else draw_to_json(slot.draw, slot.name),
    }


def _slot_from_json(item: Mapping[str, Any]) -> Slot:
    name = str(item["name"])
    dtype = getattr(torch, str(item["dtype"]), None)
    if not isinstance(dtype, torch.dtype):
        raise GraphError(f"Slot {name!r} has the unknown dtype {item['dtype']!r}. Known: float32, bfloat16, int64, ...")
    if item["kind"] not in ("parameter", "buffer"):
        raise GraphError(f"Slot {name!r} is a {item['kind']!r}; allowed are parameter and buffer.")
    return Slot(
        name=name,
        shape=_shape(item["shape"], f"Slot {name!r}"),
        dtype=dtype,
        kind=item["kind"],
        owner=str(item["owner"]),
        owner_type=str(item["owner_type"]),
        tied_to=None if item["tied_to"] is None else str(item["tied_to"]),
        draw=None if item["draw"] is None else draw_from_json(item["draw"], name),
    )


def _manifest(slots: tuple[Slot, ...]) -> Manifest:
    manifest = Manifest(slots)
    if len(manifest) != len(slots):
        raise GraphError("Two slots have the same name.")
    for slot in slots:
        target = manifest.get(slot.tied_to) if slot.tied_to is not None else None
        if slot.tied_to is not None and (target is None or target.tied_to is not None or target.shape != slot.shape):
            raise GraphError(f"Slot {slot.name!r} is tied to {slot.tied_to!r}, which cannot hold its tensor.")
    return manifest


def _layout(item: Mapping[str, Any]) -> Layout:
    layout = Layout(
        source=str(item["source"]),
        config=dict(item["config"]),
        weights_file=str(item["weights_file"]),
        shardable=bool(item["shardable"]),
        tied=item["tied"],
        dtype_key=item["dtype_key"],
    )
    if layout.weights_file not in _LAYOUTS or layout.tied not in ("once", "each"):
        raise GraphError(f"A layout names one of {', '.join(sorted(_LAYOUTS))}; given was {layout.weights_file!r}.")
    return layout


def _check_nodes(graph: Graph, manifest: Manifest) -> None:
    for index, node in enumerate(graph.nodes):
        if node.slot is None:
            continue
        slot = manifest.get(node.slot)
        if slot is None or slot.tied_to is not None or slot.shape != node.shape:
            raise GraphError(f"Node {index} holds the slot {node.slot!r} of shape {node.shape}, which is not there.")
