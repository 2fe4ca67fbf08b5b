"""Topological order, generation by generation, and the two corrections that the published code makes after it."""

from torch import nn

from paramgen.graphs.views.published.draft import Draft, Record
from paramgen.graphs.views.published.vocabulary import is_a, is_position_table

_VIT = "torchvision.models.vision_transformer.VisionTransformer"
_SQUEEZENET = "torchvision.models.squeezenet.SqueezeNet"

Ordered = tuple[list[Record], list[tuple[int, int]]]
"""Records by position, and edges between positions."""


def ordered(draft: Draft, module: nn.Module) -> Ordered:
    """Return records and edges in order, the edges sorted."""
    order = _topological(draft)
    position = {index: place for place, index in enumerate(order)}
    records = [draft.records[index] for index in order]
    edges = [
        (place, position[after])
        for place, index in enumerate(order)
        for after in draft.successors[index]
        if after != index
    ]
    if is_a(module, _VIT):
        records, edges = _sum_after_tables(records, edges)
    if is_a(module, _SQUEEZENET):  # its classifier comes before the average; that of others is last
        records.insert(len(records) - 3, records.pop())
    return records, sorted(edges)


def _topological(draft: Draft) -> list[int]:
    """Return the nodes in Kahn's order; a graph with a cycle keeps the order of discovery, as published."""
    indices = draft.indices()
    waiting = {index: len(draft.predecessors[index] - {index}) for index in indices}
    order: list[int] = []
    generation = [index for index in indices if waiting[index] == 0]
    while generation:
        order.extend(generation)
        generation = _following(draft, generation, waiting)
    return order if len(order) == len(indices) else indices


def _following(draft: Draft, generation: list[int], waiting: dict[int, int]) -> list[int]:
    """Return the nodes that wait for none but this generation, and count down for the others."""
    following = []
    for index in generation:
        for after in sorted(draft.successors[index] - {index}):
            waiting[after] -= 1
            if waiting[after] == 0:
                following.append(after)
    return following


def _sum_after_tables(records: list[Record], edges: list[tuple[int, int]]) -> Ordered:
    """Put a sum behind each position table, which takes over the table's edges."""
    place = 0
    while place < len(records):
        if is_position_table(records[place]):
            records.insert(place + 1, Record("AddBackward0"))
            edges = [(source + (source >= place), end + (end >= place)) for source, end in edges]
            edges.append((place, place + 1))
        place += 1
    return records, edges
