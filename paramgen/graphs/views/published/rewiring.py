"""Repairs of the walked graph: weight before bias, softmax between what it joins, and an input node."""

from collections import deque
from collections.abc import Sequence

from paramgen.graphs.views.published.draft import Draft, Record


def order_weights(draft: Draft, *, again: bool = False, anywhere: bool = False) -> None:
    """Put weights that hang beside the data on its path, before the bias that is there.

    A linear layer's weight is transposed before it is used, so that the walk attaches the data to the bias.

    Args:
        draft: Changed in place.
        again: Whether a weight that has been moved may still move before a softmax (LoGAH's networks for text).
        anywhere: Whether a weight may move before any node, not only its own bias or a softmax (Llama).

    """
    for weight in draft.indices():
        record = draft.records[weight]
        if draft.predecessors[weight] or "weight" not in record.name:
            continue
        for other in sorted(draft.successors[weight]):
            same = draft.records[other].module is record.module
            softmax = "softmax" in draft.records[other].name.lower() and (again or not draft.predecessors[weight])
            if (same or softmax or anywhere) and draft.predecessors[other] - {weight}:
                _swap(draft, weight, other)


def _swap(draft: Draft, weight: int, other: int) -> None:
    """Exchange two nodes' records, and hand what followed the second to the first if it had no other successor."""
    only = len(draft.successors[weight]) == 1
    draft.records[weight], draft.records[other] = draft.records[other], draft.records[weight]
    draft.disconnect(weight, other)
    draft.connect(other, weight)
    if not only:
        return
    for follower in draft.successors[other] - {weight}:
        draft.disconnect(other, follower)
        draft.connect(weight, follower)


def order_softmax(draft: Draft) -> None:
    """Let what a softmax's successor also reads pass through the softmax alone."""
    frozen = [frozenset(successors) for successors in draft.successors]
    for softmax in draft.indices():
        if "softmax" in draft.records[softmax].name.lower():
            for successor in sorted(draft.successors[softmax]):
                _lead_through(draft, softmax, successor, frozen)


def _lead_through(draft: Draft, softmax: int, successor: int, frozen: Sequence[frozenset[int]]) -> None:
    for other in sorted(draft.predecessors[successor] - {softmax}):
        paths = _paths(frozen, other, successor)
        missing = other not in draft.successors[softmax]
        if paths > 1 or missing:
            draft.disconnect(other, successor)
        if paths == 1 and missing:
            draft.connect(other, softmax)


def _paths(after: Sequence[frozenset[int]], source: int, destination: int) -> int:
    """Count the simple paths between two nodes, up to 2, in linear time even where there are cycles.

    A second path exists if a detour leads from a node of the first path to a later one.
    """
    path = _shortest(after, source, destination)
    place = {node: step for step, node in enumerate(path)}
    seen: set[int] = set()
    for step, node in enumerate(path[:-1]):
        frontier = list(after[node] - {path[step + 1]})
        while frontier:
            reached = frontier.pop()
            if place.get(reached, -1) > step:
                return 2
            if reached not in place and reached not in seen:
                seen.add(reached)
                frontier.extend(after[reached])
    return min(len(path), 1)


def _shortest(after: Sequence[frozenset[int]], source: int, destination: int) -> list[int]:
    """Return the nodes of a shortest path, none if there is no path."""
    origin, queue = {source: source}, deque([source])
    while queue and destination not in origin:
        node = queue.popleft()
        for child in after[node]:
            if child not in origin:
                origin[child] = node
                queue.append(child)
    if destination not in origin:
        return []
    path = [destination]
    while path[-1] != source:
        path.append(origin[path[-1]])
    return path[::-1]


def repair_swin(draft: Draft) -> None:
    """Rewire the patch merging of torchvision's Swin networks as the published code does."""
    for index in draft.indices():
        name = draft.records[index].name
        if name.lower().endswith("norm.weight"):
            _lead_to_reduction(draft, index)
        elif name.lower().endswith("attn.proj.bias"):
            _lead_past_reduction(draft, index)


def _lead_to_reduction(draft: Draft, norm: int) -> None:
    """Let the norm of a patch merging feed its reduction, instead of the next stage."""
    wanted = draft.records[norm].name.replace("norm", "reduction")
    reduction = next((index for index in draft.indices() if wanted in draft.records[index].name), None)
    for successor in sorted(draft.successors[norm]):
        name = draft.records[successor].name
        if name.endswith("norm1.weight") or "Add" in name:
            draft.disconnect(norm, successor)
            if reduction is not None:
                draft.connect(norm, reduction)


def _lead_past_reduction(draft: Draft, bias: int) -> None:
    """Let the attention before a patch merging feed the sums that its reduction feeds."""
    for successor in sorted(draft.successors[bias]):
        if draft.records[successor].name.endswith("reduction.weight"):
            draft.disconnect(bias, successor)
            for after in draft.successors[successor]:
                _connect_sum(draft, bias, after)


def _connect_sum(draft: Draft, source: int, node: int) -> None:
    if draft.records[node].name.startswith("AddBackward"):
        draft.connect(source, node)


def add_input(draft: Draft) -> None:
    """Add the input node, last, before every weight that nothing precedes."""
    starts = [i for i in draft.indices() if not draft.predecessors[i] and "weight" in draft.records[i].name]
    node = draft.add(Record("input"))
    for start in starts:
        draft.connect(node, start)
