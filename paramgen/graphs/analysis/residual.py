"""What closes a residual branch: the gate, the norm or the last weight that makes it zero when it is zero itself."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal, final

from paramgen.graphs.analysis.roles import Flow
from paramgen.graphs.ops import NORMS, WEIGHT_OPS
from paramgen.graphs.schema import Graph
from paramgen.slots.manifest import Manifest

Closing = Literal["gate", "norm", "weight"]

CLOSINGS: Final[tuple[Closing, ...]] = ("gate", "norm", "weight")
"""In the order in which they are looked for."""

_MAPS: Final = WEIGHT_OPS - {"embedding"}
_KEEPS_ZERO: Final = frozenset(
    "relu gelu silu tanh max_pool average_pool mean resize negate other gather concat sum multiply".split()
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualBranch:
    """One residual branch, and what closes it; slots are named in forward order."""

    weights: tuple[str, ...]  # of linear maps and convolutions
    closed_by: Closing
    closing: tuple[str, ...]  # the gates, norms' scales or last weights
    shifts: tuple[str, ...]  # what is added behind them, and has to be zero as well


def residual_branches(graph: Graph, manifest: Manifest, by: Collection[Closing]) -> list[ResidualBranch]:
    """Return the residual branches that can be closed by one of `by`: by a gate, else by a norm, else by a weight.

    Left out are branches whose last weight is also a weight further inside one: closed, it would never learn.
    """
    flow = Flow(graph)
    found: list[ResidualBranch] = []
    for branch, fork in flow.branches():
        for kind in CLOSINGS:
            closed = _Closing(flow, manifest, fork, kind).branch(branch) if kind in by else None
            if closed is not None:
                found.append(closed)
                break
    inner = {slot for branch in found for slot in branch.weights if slot not in branch.closing}
    return [branch for branch in found if inner.isdisjoint(branch.closing)]


@final
@dataclass(frozen=True, slots=True)
class _Closed:
    """The nodes that close what comes out of a node, and the shifts behind them."""

    closing: frozenset[int]
    shifts: frozenset[int] = frozenset()


@final
class _Closing:
    """A walk back from the end of a branch to what closes it in one way."""

    def __init__(self, flow: Flow, manifest: Manifest, fork: int, kind: Closing) -> None:
        self.flow, self.manifest, self.fork, self.kind = flow, manifest, fork, kind

    def branch(self, end: int) -> ResidualBranch | None:
        """Return the branch, if everything that enters its end can be closed."""
        found: dict[int, _Closed | None] = {}
        for node in sorted(self._inside(end, through=_KEEPS_ZERO | {"bias"})):  # nodes come before what they enter
            found[node] = self._closed(node, [found.get(source) for source in self.flow.before[node]])
        closed = found.get(end)
        if closed is None:
            return None
        weights = [node for node in self._inside(end, through=None) if self.flow.op(node) in _MAPS]
        return ResidualBranch(
            weights=self._slots(weights),
            closed_by=self.kind,
            closing=self._slots(closed.closing),
            shifts=self._slots(closed.shifts),
        )

    def _inside(self, end: int, through: frozenset[str] | None) -> set[int]:
        """Return the nodes of the branch that are met from its end; those of other operations end the walk."""
        met: set[int] = set()
        stack = [end]
        while stack:
            node = stack.pop()
            if node in met or node <= self.fork:
                continue
            met.add(node)
            self.flow.step(1 + len(self.flow.before[node]))
            if through is None or (self.flow.op(node) in through and not self._own(node)):
                stack.extend(self.flow.before[node])
        return met

    def _own(self, node: int) -> list[int]:
        """Return the node that closes what comes out here by itself, if it is of the kind that is looked for."""
        op = self.flow.op(node)
        if self.kind == "gate":
            return self._gates(node) if op == "multiply" else []
        return [node] if op in (NORMS if self.kind == "norm" else _MAPS) else []

    def _closed(self, node: int, inputs: list[_Closed | None]) -> _Closed | None:
        op = self.flow.op(node)
        if own := self._own(node):
            return _Closed(frozenset(own)) if self._fillable(own[0]) else None
        if op == "parameter":  # added or joined: a shift
            return _Closed(frozenset(), frozenset((node,))) if self._fillable(node) else None
        if op == "multiply":  # one closed factor is enough; with two, none would learn
            return next((each for each in inputs if each is not None and each.closing), None)
        closed = [each for each in inputs if each is not None]
        if op not in _KEEPS_ZERO | {"bias"} or not inputs or len(closed) < len(inputs):
            return None
        shifts = frozenset((node,)) if op == "bias" else frozenset()
        return _Closed(
            frozenset().union(*(each.closing for each in closed)), shifts.union(*(each.shifts for each in closed))
        )

    def _gates(self, node: int) -> list[int]:
        """Return a parameter that multiplies the data at a node, directly or through a tanh."""
        for source in self.flow.before[node]:
            before = self.flow.before[source]
            gate = before[0] if self.flow.op(source) == "tanh" and len(before) == 1 else source
            if self.flow.op(gate) == "parameter":
                return [gate]
        return []

    def _fillable(self, node: int) -> bool:
        name = self.flow.nodes[node].slot
        slot = self.manifest.get(name) if name is not None else None
        return slot is not None and slot.kind == "parameter" and slot.dtype.is_floating_point

    def _slots(self, nodes: Iterable[int]) -> tuple[str, ...]:
        names = (self.flow.nodes[node].slot for node in sorted(nodes) if self._fillable(node))
        return tuple(dict.fromkeys(name for name in names if name is not None))
