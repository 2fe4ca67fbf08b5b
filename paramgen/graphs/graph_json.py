"""A graph as JSON: all that a prediction needs, so a client can send it and a server read it.

`{"paramgen_graph": 1, "spec", "traced_by", "layout", "nodes", "edges", "slots"}`; a slot carries the init program of
its library, so that whoever reads the graph needs neither the library nor the module. Everything read is hostile until
checked: size first, then structure, then every init program, by running it without values, on the meta device.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from math import isfinite
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Int64

from paramgen.architectures import Architecture, FolderLayout
from paramgen.architectures.resets import without_values
from paramgen.errors import GraphError, OutputError, one_line
from paramgen.graphs.init_json import program_from_json, program_to_json
from paramgen.graphs.init_limits import check_program
from paramgen.graphs.schema import MAX_DIMENSIONS, MAX_EDGES, MAX_NODES, VERSION, Graph, Node, validate_shape
from paramgen.slots.manifest import Manifest, Slot

MAX_GRAPH_BYTES: Final = 100_000_000
MAX_EXTRA_WORK: Final = 10**9
MAX_PROGRAM_STEPS: Final = 300_000
MAX_GRAPH_TEXT: Final = 10_000
MAX_ATTRIBUTE: Final = 10**9
_KEYS: Final = frozenset(("paramgen_graph", "spec", "traced_by", "layout", "nodes", "edges", "slots"))
_MAY: Final = frozenset(("pixel_std",))
_SIZES: Final = frozenset(("kernel", "stride", "dilation"))
_COUNTS: Final = frozenset(("groups", "heads"))
_DTYPES: Final = frozenset(
    "float64 float32 float16 bfloat16 complex64 int64 int32 int16 int8 uint8 uint16 uint32 uint64 bool".split()
)
GRAPH_FILES: Final = frozenset(("generation_config.json",))
_LAYOUTS: Final = frozenset(("model.safetensors", "diffusion_pytorch_model.safetensors"))


def graph_to_json(architecture: Architecture, graph: Graph) -> str:
    """Write graph, manifest and layout as one JSON object. The values that a live module holds are left out."""
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
                "files": {name: text for name, text in layout.files.items() if name in GRAPH_FILES},
            },
            **({} if architecture.pixel_std is None else {"pixel_std": architecture.pixel_std}),
            **_structure(graph),
            "slots": [_slot_to_json(slot) for slot in without_values(architecture)],
        },
        separators=(",", ":"),
    )


def graph_from_json(text: str) -> tuple[Architecture, Graph]:
    """Return the architecture and graph that `graph_to_json` wrote.

    Raises:
        GraphError: It is no such JSON, of another version, or breaks a limit.
    """
    return graph_from_data(_parse(text))


def graph_from_data(data: object) -> tuple[Architecture, Graph]:
    """Read what was already parsed of such JSON.

    Raises:
        GraphError: It is no graph, of another version, or breaks a limit.
    """
    try:
        return _read(_checked(data))
    except GraphError as error:  # what it says of hostile input may be long, or of many lines
        raise GraphError(one_line(error)) from error


def _read(data: dict[str, Any]) -> tuple[Architecture, Graph]:
    try:
        slots = tuple(_slot_from_json(item) for item in _list(data["slots"], "slots"))
        manifest = _manifest(slots)
        layout = _layout(data["layout"])
        graph = _graph(data, manifest)
    except GraphError:
        raise
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError, AttributeError) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise GraphError(f"Not a graph of version {VERSION}: {reason}. {_ADVICE}") from error
    if sum(len(slot.program.steps) for slot in slots if slot.program is not None) > MAX_PROGRAM_STEPS:
        raise GraphError(f"The init programs of all slots have more than {MAX_PROGRAM_STEPS:,} steps.")
    extra = 0
    for slot in manifest.filled:
        extra += 0 if slot.program is None else check_program(slot.program, slot)
        if extra > MAX_EXTRA_WORK:
            raise GraphError(f"The init programs up to slot {slot.name!r} compute far more than their slots hold.")
    return Architecture(
        spec=_text(data["spec"], "spec"), manifest=manifest, layout=layout, pixel_std=_pixel_std(data.get("pixel_std"))
    ), graph


def structure_to_json(graph: Graph) -> str:
    """Return nodes, edges and tracing backend as JSON, for a reader that has the manifest."""
    content = {"paramgen_structure": VERSION, "traced_by": graph.traced_by, **_structure(graph)}
    return json.dumps(content, separators=(",", ":"))


def structure_from_json(text: str, manifest: Manifest) -> Graph:
    """Read what `structure_to_json` wrote, of a network with this manifest.

    Raises:
        GraphError: It is no such JSON, of another version or network, or breaks a limit.
    """
    data = _parse(text)
    try:
        if data["paramgen_structure"] != VERSION:
            raise GraphError(f"A structure of version {data['paramgen_structure']!r}; read is {VERSION}.")
        return _graph(data, manifest)
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError, AttributeError) as error:
        raise GraphError(f"No structure of a graph: {type(error).__name__}: {one_line(error)}.") from error


def _graph(data: Mapping[str, Any], manifest: Manifest) -> Graph:
    nodes = tuple(_node_from_json(item) for item in _list(data["nodes"], "nodes"))
    edges = _edges(_list(data["edges"], "edges", MAX_EDGES))
    graph = Graph(nodes, edges, _text(data["traced_by"], "traced_by"))
    _check_nodes(graph, manifest)
    return graph


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


def _parse(text: str) -> Any:
    if len(text) > MAX_GRAPH_BYTES:
        raise GraphError(f"A graph of {len(text):,} bytes; at most {MAX_GRAPH_BYTES:,} are read.")
    if text.count('"op"') > MAX_NODES:  # parsing them all first would take seconds
        raise GraphError(f"A graph of more than {MAX_NODES:,} nodes.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GraphError(f"Not JSON: {one_line(error)}. {_ADVICE}") from error


def _checked(data: object) -> dict[str, Any]:
    if not isinstance(data, dict) or "paramgen_graph" not in data:
        raise GraphError(f"JSON, but not a graph: the key 'paramgen_graph' is missing. {_ADVICE}")
    if type(data["paramgen_graph"]) is not int or data["paramgen_graph"] != VERSION:
        raise GraphError(f"A graph of version {data['paramgen_graph']!r}; this paramgen reads version {VERSION}.")
    if set(data) - _MAY != _KEYS:
        odd = sorted(_KEYS ^ (set(data) - _MAY))
        raise GraphError(f"A graph has the keys {', '.join(sorted(_KEYS))}; missing or unknown: {', '.join(odd)}.")
    return data


def _list(value: Any, what: str, most: int = MAX_NODES) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        given = len(value) if isinstance(value, list) else type(value).__name__
        raise GraphError(f"{what!r} is a list of at most {most:,} entries; given was {given}.")
    return value


def _node_from_json(item: Mapping[str, Any]) -> Node:
    shape = _shape(item["shape"], "A node")
    attributes = {str(key): _attribute(key, value) for key, value in item.get("attributes", {}).items()}
    slot = item["slot"]
    return Node(
        op=_text(item["op"], "op"),
        name=_text(item["name"], "name"),
        slot=None if slot is None else _text(slot, "slot"),
        shape=shape,
        attributes=attributes,
    )


def _attribute(key: str, value: Any) -> Any:
    if key in _COUNTS and not (type(value) is int and 0 < value <= MAX_ATTRIBUTE):
        raise GraphError(f"A node's {key!r} is {one_line(value)}; it is one number, 1 or more.")
    numbers = value if isinstance(value, list) else [value]
    if key in _SIZES:
        _refuse_sizes(key, numbers)
    if all(type(number) is int and abs(number) <= MAX_ATTRIBUTE for number in numbers):
        return tuple(numbers) if isinstance(value, list) else value
    if key not in _SIZES and (isinstance(value, str) or (isinstance(value, float) and isfinite(value))):
        return value
    raise GraphError(f"A node's {key!r} is {value!r}; attributes are texts, numbers or integers of limited size.")


def _refuse_sizes(key: str, numbers: list[Any]) -> None:
    """Refuse a step of zero, and a kernel, a stride or a dilation of more dimensions than a shape has."""
    few = len(numbers) <= MAX_DIMENSIONS and (len(numbers) > 0 or key == "kernel")
    if not few or not all(type(number) is int and number > 0 for number in numbers):
        raise GraphError(
            f"A node's {key!r} is {one_line(numbers)}; it is a number from 1, or up to {MAX_DIMENSIONS} of them."
        )


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_GRAPH_TEXT:
        raise GraphError(f"{what!r} is a text of at most {MAX_GRAPH_TEXT:,} characters; given was {one_line(value)!r}.")
    return value


def _edges(value: list[Any]) -> Int64[np.ndarray, "edges 2"]:
    pairs = np.array(value) if value else np.zeros((0, 2), dtype=np.int64)
    if pairs.dtype != np.int64 or pairs.ndim != 2 or pairs.shape[1] != 2:
        raise GraphError("'edges' is a list of pairs of node indices.")
    return pairs


def _shape(value: Sequence[Any], what: str) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > MAX_DIMENSIONS or not all(type(size) is int for size in value):
        raise GraphError(f"{what} has a shape that is no list of at most {MAX_DIMENSIONS} integers: {value!r:.80}.")
    shape = tuple(value)
    validate_shape(shape, what)
    return shape


def _slot_to_json(slot: Slot) -> dict[str, Any]:
    if slot.program is not None and slot.program.kept and slot.tied_to is None:
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
        "init_program": None
        if slot.program is None or slot.tied_to is not None
        else program_to_json(slot.program, slot.name),
    }


def _slot_from_json(item: Mapping[str, Any]) -> Slot:
    name = _text(item["name"], "name")
    if item["dtype"] not in _DTYPES:
        raise GraphError(f"Slot {name!r} has the unknown dtype {item['dtype']!r}. Known: {', '.join(sorted(_DTYPES))}.")
    if item["kind"] not in ("parameter", "buffer"):
        raise GraphError(f"Slot {name!r} is a {item['kind']!r}; allowed are parameter and buffer.")
    return Slot(
        name=name,
        shape=_shape(item["shape"], f"Slot {name!r}"),
        dtype=getattr(torch, item["dtype"]),
        kind=item["kind"],
        owner=_text(item["owner"], "owner"),
        owner_type=_text(item["owner_type"], "owner_type"),
        tied_to=None if item["tied_to"] is None else _text(item["tied_to"], "tied_to"),
        program=None if item["init_program"] is None else program_from_json(item["init_program"], name),
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


def _layout(item: Mapping[str, Any]) -> FolderLayout:
    if item["weights_file"] not in _LAYOUTS:
        raise GraphError(f"A layout names one of {', '.join(sorted(_LAYOUTS))}; given was {item['weights_file']!r}.")
    if item["tied"] not in ("once", "each") or type(item["shardable"]) is not bool:
        raise GraphError("A layout's 'tied' is 'once' or 'each', its 'shardable' true or false.")
    if not isinstance(item["config"], dict):
        raise GraphError("A layout's 'config' is an object.")
    files = dict(item.get("files", {}))
    if not GRAPH_FILES.issuperset(files):
        raise GraphError(
            f"A layout's other files are {', '.join(sorted(GRAPH_FILES))}; given were {one_line(list(files))}."
        )
    return FolderLayout(
        source=_text(item["source"], "source"),
        config=item["config"],
        weights_file=item["weights_file"],
        shardable=item["shardable"],
        tied=item["tied"],
        dtype_key=None if item["dtype_key"] is None else _text(item["dtype_key"], "dtype_key"),
        files={name: _text(text, name) for name, text in files.items()},
    )


def _pixel_std(value: object) -> float | None:
    if value is not None and (type(value) not in (int, float) or not 1e-3 <= value <= 1e3):  # type: ignore[operator]
        raise GraphError(f"A graph's 'pixel_std' is a number from 0.001 to 1000; given was {one_line(repr(value))}.")
    return value  # type: ignore[return-value]


def _check_nodes(graph: Graph, manifest: Manifest) -> None:
    for index, node in enumerate(graph.nodes):
        if node.slot is None:
            continue
        slot = manifest.get(node.slot)
        if slot is None or slot.tied_to is not None or slot.shape != node.shape:
            raise GraphError(f"Node {index} holds the slot {node.slot!r} of shape {node.shape}, which is not there.")
