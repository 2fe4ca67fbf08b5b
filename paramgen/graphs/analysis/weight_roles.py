"""What each weight of a network is for, in a word, and how far along the depth it is: the key of statistics.

Two networks of any width, depth and library have the same words, as long as they are made of the same parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, final, get_args

from paramgen.graphs.analysis.addressed_slots import addressed_slots_of
from paramgen.graphs.analysis.attention import Share, attentions_of
from paramgen.graphs.analysis.neighbours import Neighbours
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.graphs.schema import Graph
from paramgen.slots.manifest import Manifest

WeightRole = Literal[
    "stem",
    "query",
    "key",
    "value",
    "attention_output",
    "pointwise",
    "pointwise_last",
    "convolution",
    "convolution_last",
    "depthwise",
    "head",
    "position",
    "class_token",
    "layer_scale",
]
WEIGHT_ROLES: Final[tuple[WeightRole, ...]] = get_args(WeightRole)
"""`stem` reads the image, `head` makes the output, `_last` ends a residual branch; linear layers are pointwise."""

BESIDE_MAPS: Final[tuple[WeightRole, ...]] = ("position", "class_token", "layer_scale")
"""The roles of what is no linear map."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class WeightPart:
    """Some outputs of a slot that have one role; `stop` is None where they go on to the end."""

    role: WeightRole
    depth: float  # of the weight among all, in forward order: 0 the first, 1 the last
    start: int = 0
    stop: int | None = None


def known_role(name: str) -> WeightRole | None:
    """Return the role of that name; None where there is none."""
    return next((role for role in WEIGHT_ROLES if role == name), None)


def weight_roles_of(
    graph: Graph, manifest: Manifest, maps: Mapping[str, LinearMap]
) -> Mapping[str, tuple[WeightPart, ...]]:
    """Return the parts of each slot whose role is known: of linear maps, position tables, class tokens, layer scales.

    The rows of a packed weight of queries, keys and values are parts of their own. `maps` are the network's.
    """
    near = Neighbours(graph)
    projected = _projections(graph, manifest)
    found: dict[str, tuple[WeightPart, ...]] = {}
    last = max(1, len(maps) - 1)
    for index, (name, linear_map) in enumerate(maps.items()):
        whole = [(_role(linear_map, stem=near.is_stem(linear_map.node)), 0, None)]
        found[name] = tuple(
            WeightPart(role=role, depth=index / last, start=start, stop=stop)
            for role, start, stop in projected.get(name, whole)
        )
    for name, slot in addressed_slots_of(graph, manifest).items():
        beside = known_role(slot.address.part)
        if beside is not None and beside in BESIDE_MAPS and name not in found:
            found[name] = (WeightPart(role=beside, depth=slot.depth),)
    return found


def _role(linear_map: LinearMap, *, stem: bool) -> WeightRole:
    """Return the role of a map that is no part of an attention."""
    if stem:
        return "stem"
    if linear_map.output:
        return "head"
    if linear_map.kind == "depthwise":
        return "depthwise"
    if linear_map.taps > 1:
        return "convolution_last" if linear_map.last_of_branch else "convolution"
    return "pointwise_last" if linear_map.last_of_branch else "pointwise"


def _projections(graph: Graph, manifest: Manifest) -> dict[str, list[tuple[WeightRole, int, int | None]]]:
    """Return the rows of each weight of an attention that have one role, in order; the rest of its rows is left out."""
    found: dict[str, list[tuple[WeightRole, int, int | None]]] = {}

    def add(share: Share | None, role: WeightRole, width: int) -> None:
        for row in () if share is None else share.rows:
            found.setdefault(share.slot, []).append((role, row, row + width))  # type: ignore[union-attr]

    for attention in attentions_of(graph, manifest):
        add(attention.query, "query", attention.head_width)
        add(attention.key, "key", attention.head_width)
        add(attention.value, "value", attention.head_width)
        if attention.project is not None:
            found[attention.project.slot] = [("attention_output", 0, None)]
    return {name: _merged(parts) for name, parts in found.items()}


def _merged(parts: list[tuple[WeightRole, int, int | None]]) -> list[tuple[WeightRole, int, int | None]]:
    """Return the parts by row, neighbours of one role as one."""
    merged: list[tuple[WeightRole, int, int | None]] = []
    for role, start, stop in sorted(parts, key=lambda part: part[1]):
        if merged and merged[-1][0] == role and merged[-1][2] == start:
            merged[-1] = (role, merged[-1][1], stop)
        else:
            merged.append((role, start, stop))
    return merged
