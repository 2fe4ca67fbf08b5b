"""What a closed-form initializer needs to know of each weight: its kind, its matrices, and what follows it.

Everything is read off the graph; names decide nothing here. The table `KINDS` says which operations have weights that
are maps, and `GAINS` what each non-linearity does to the variance of what passes.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod, sqrt
from typing import Final, Literal, final

from jaxtyping import Float
from torch import Tensor

from paramgen.errors import GraphError
from paramgen.graphs.ops import NORMS, WEIGHT_OPS
from paramgen.graphs.schema import Graph, Node
from paramgen.slots.manifest import Manifest, Slot

MapKind = Literal["linear", "conv", "depthwise", "transposed_conv"]

KINDS: Final[Mapping[str, MapKind]] = {
    "linear": "linear",
    "conv": "conv",
    "dilated_conv": "conv",
    "depthwise_conv": "depthwise",
    "transposed_conv": "transposed_conv",
}
"""Operation -> kind of its weight. Tables (`embedding`) and recurrent weights are no single map: they are not here."""

GAINS: Final[Mapping[str, float]] = {
    "relu": sqrt(2.0),
    "gelu": 1.5335,
    "silu": 1.6765,
    "tanh": 1.0,
    "sigmoid": 1.0,
    "activation": 1.0,
    "": 1.0,
}
"""What follows a weight -> the factor on its standard deviation.

For relu, gelu and silu it is E[f(z)^2]^(-1/2) of a standard normal z (He et al., 2015, eq. 8-10, worked out for each).
tanh has 1, the edge of chaos without biases (Schoenholz et al., 2017, arXiv:1611.01232): with torch's 5/3 small
differences between inputs grow from layer to layer. Nothing and sigmoid have none.
"""

STEPS_PER_ELEMENT: Final = 40
"""Walks along a graph's edges have together at most so many steps for each of its nodes and edges, and some more."""
STEPS_AT_LEAST: Final = 1_000_000

_THROUGH: Final = NORMS | {"bias", "sum", "concat", "max_pool", "average_pool", "mean", "resize"}
_TO_OUTPUT: Final = frozenset(("bias", "mean", "resize", "relu", "sigmoid", "softmax", "tanh", "average_pool"))
_GATED: Final[Mapping[str, str]] = {"sigmoid": "silu", "tanh": "gelu"}  # x * sigmoid(x); the tanh form of gelu
_ENDS_BRANCH: Final = frozenset(("sigmoid", "softmax", "attention", "input", "embedding"))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LinearMap:
    """One weight that is a linear map of what flows through it: `groups` matrices, one per tap of the kernel."""

    slot: str
    node: int
    kind: MapKind
    groups: int
    out: int  # per group
    fan: int  # inputs per group
    kernel: tuple[int, ...]
    stride: int = 1  # product over the dimensions
    in_out: bool = False  # stored with rows as inputs
    followed_by: str = ""  # the non-linearity that the data meets next, a key of `GAINS`; empty: none before a weight
    function: str = ""  # that non-linearity as torch calls it
    normed: bool = False  # whether a norm follows right behind
    last_of_branch: bool = False  # nothing with weights between it and the sum that ends a residual branch
    output: bool = False  # nothing with weights between it and what the network returns

    @property
    def fan_in(self) -> float:
        """Number of terms in the sum that makes one output; of a transposed convolution on average."""
        terms = float(self.fan * self.taps)
        return max(1.0, terms / self.stride) if self.kind == "transposed_conv" else terms

    @property
    def fan_out(self) -> float:
        """Number of outputs that one input enters, of a stride of 1."""
        return float(self.out * self.taps)

    @property
    def taps(self) -> int:
        """Number of positions in the kernel."""
        return prod(self.kernel)

    @property
    def central(self) -> int:
        """Index of the central tap, taps in row-major order; of an even size, the one behind the middle."""
        return sum(size // 2 * prod(self.kernel[axis + 1 :]) for axis, size in enumerate(self.kernel))

    @property
    def gain(self) -> float:
        """The factor of `GAINS` for what follows."""
        return GAINS[self.followed_by]

    def stored(self, weights: Float[Tensor, "groups out in *kernel"], slot: Slot) -> Tensor:
        """Bring matrices of `groups`, `out`, `fan` and `kernel` into the slot's own shape and dtype."""
        if self.in_out or self.kind == "transposed_conv":
            weights = weights.transpose(1, 2)
        return weights.reshape(slot.shape).to(slot.dtype)

    def matrices(self, tensor: Tensor) -> Float[Tensor, "groups out in *kernel"]:
        """Bring a slot's tensor into matrices of `groups`, `out`, `fan` and `kernel`; the inverse of `stored`."""
        if self.in_out or self.kind == "transposed_conv":
            return tensor.reshape(self.groups, self.fan, self.out, *self.kernel).transpose(1, 2)
        return tensor.reshape(self.groups, self.out, self.fan, *self.kernel)


def linear_maps_of(graph: Graph, manifest: Manifest) -> dict[str, LinearMap]:
    """Return the weights that are linear maps, by slot, in forward order; of a weight used twice, its first use.

    Left out are tables, recurrent weights, weights without elements, integers, and weights whose default
    initialization is a constant: gates that begin closed and fixed filters are meant to.
    """
    flow = Flow(graph)
    last, output = flow.ends_of_branches(), flow.ends_of_network()
    found = {}
    for name, index in graph.nodes_of_slot().items():
        node, slot = graph.nodes[index], manifest[name]
        matrices = _matrices(node, slot)
        if matrices is None or _constant(slot):
            continue
        groups, out, fan, kernel = matrices
        stride = node.attributes.get("stride", 1)
        found[name] = LinearMap(
            slot=name,
            node=index,
            kind=KINDS[node.op],
            groups=groups,
            out=out,
            fan=fan,
            kernel=kernel,
            stride=prod(stride) if isinstance(stride, tuple) else int(stride),
            in_out=node.op == "linear" and node.attributes.get("layout") == "in_out",
            followed_by=flow.followed_by(index),
            function=flow.function_behind(index),
            normed=flow.is_normed(index),
            last_of_branch=index in last,
            output=index in output,
        )
    return found


def biases_of(graph: Graph, manifest: Manifest, weights: Iterable[str]) -> set[str]:
    """Return the biases added right behind one of `weights` whose default initialization is random, or looks so."""
    wanted = frozenset(weights)
    flow = Flow(graph)
    found = set()
    for name, index in graph.nodes_of_slot().items():
        before = {graph.nodes[source].slot for source in flow.before[index]}
        program = manifest[name].program
        if graph.nodes[index].op == "bias" and before & wanted and (program is None or program.random):
            found.add(name)
    return found


def _matrices(node: Node, slot: Slot) -> tuple[int, int, int, tuple[int, ...]] | None:
    """Return groups, outputs and inputs per group, and kernel of a weight."""
    shape = slot.shape
    if node.op not in KINDS or not slot.dtype.is_floating_point or not slot.elements or slot.kind != "parameter":
        return None
    if node.op == "linear":
        if len(shape) not in (2, 3):
            return None
        rows, columns = shape[-2:]
        groups = shape[0] if len(shape) == 3 else 1
        return (groups, columns, rows, ()) if node.attributes.get("layout") == "in_out" else (groups, rows, columns, ())
    groups = int(node.attributes.get("groups", 1))  # type: ignore[arg-type]
    if len(shape) < 3 or shape[0] % groups:
        return None
    if node.op == "transposed_conv":
        return groups, shape[1], shape[0] // groups, shape[2:]
    return groups, shape[0] // groups, shape[1], shape[2:]


def _constant(slot: Slot) -> bool:
    return slot.program is not None and not slot.program.random


@final
class Flow:
    """The nodes before and after each node, and what can be read off them."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = graph.nodes
        self.before: list[list[int]] = [[] for _ in graph.nodes]
        self.after: list[list[int]] = [[] for _ in graph.nodes]
        for source, target in graph.edges.tolist():
            self.before[target].append(source)
            self.after[source].append(target)
        self._left = STEPS_PER_ELEMENT * (len(graph.nodes) + len(graph.edges)) + STEPS_AT_LEAST
        self._first: list[int | None] | None = None

    def step(self, steps: int = 1) -> None:
        """Count steps along edges: all walks together take a time that grows with the graph, not with its square.

        Raises:
            GraphError: They go on beyond what any network needs.
        """
        self._left -= steps
        if self._left < 0:
            raise GraphError(
                f"The {len(self.nodes):,} nodes are linked so that following the data takes too long. Allowed are "
                "networks' graphs: paramgen graph --arch NAME --out g.json"
            )

    def op(self, index: int) -> str:
        """Return what a node does."""
        return self.nodes[index].op

    def followed_by(self, index: int) -> str:
        """Return the first non-linearity behind a weight, through biases, norms, pools and sums; empty if none."""
        first = self._behind(index)
        if first is None:
            return ""
        op = self.op(first)
        return _GATED[op] if op in _GATED and self._gates_itself(first) else op

    def function_behind(self, index: int) -> str:
        """Return the name of the function of that non-linearity, as torch calls it: `elu` of an `activation`."""
        op, first = self.followed_by(index), self._behind(index)
        if first is None or op != self.op(first):  # a gate that is written out
            return op
        return self.nodes[first].name.rpartition("/")[2].strip("_") or op

    def is_normed(self, index: int) -> bool:
        """Whether a norm follows right behind a weight, or behind its bias."""
        met = self.reach(self.after, self.after[index], through=frozenset(("bias",)))
        return any(self.op(node) in NORMS or self.op(node) == "normalize" for node in met)

    def _behind(self, index: int) -> int | None:
        if self._first is None:
            self._first = self._activations()
        return min((met for node in self.after[index] if (met := self._first[node]) is not None), default=None)

    def _activations(self) -> list[int | None]:
        """Return for each node the first non-linearity from there on, itself included."""
        first: list[int | None] = [None] * len(self.nodes)
        for node in reversed(range(len(self.nodes))):
            if self.op(node) in GAINS:
                first[node] = node
            elif self.op(node) in _THROUGH:
                met = (first[following] for following in self.after[node])
                first[node] = min((one for one in met if one is not None), default=None)
        return first

    def _gates_itself(self, activation: int) -> bool:
        """Whether what enters the activation is multiplied with what leaves it."""
        entering = set(self.before[activation])
        for node in self.after[activation]:
            if self.op(node) == "multiply":
                self.step(len(self.before[node]))
                if not entering.isdisjoint(self.before[node]):
                    return True
        return False

    def reach(self, neighbours: list[list[int]], start: Iterable[int], *, through: frozenset[str]) -> set[int]:
        """Return the nodes met from `start` on, those at which the walk ends included."""
        met: set[int] = set()
        stack = list(start)
        while stack:
            node = stack.pop()
            if node not in met:
                met.add(node)
                if self.op(node) in through:
                    self.step(1 + len(neighbours[node]))
                    stack.extend(neighbours[node])
        return met

    def comes_from(self, node: int, earlier: int) -> bool:
        """Whether data from `earlier` enters `node`, directly or through others."""
        met: set[int] = set()
        stack = [node]
        while stack:
            current = stack.pop()
            if current == earlier:
                return True
            self.step(1 + len(self.before[current]))
            fresh = [source for source in self.before[current] if source >= earlier and source not in met]
            met.update(fresh)
            stack += fresh
        return False

    def ends_of_network(self) -> set[int]:
        """Return the weights behind which there is only what shapes the output."""
        outputs = [index for index, node in enumerate(self.nodes) if node.op == "output"]
        start = [source for index in outputs for source in self.before[index]]
        return {node for node in self.reach(self.before, start, through=_TO_OUTPUT) if self.op(node) in WEIGHT_OPS}

    def ends_of_branches(self) -> set[int]:
        """Return the last weights of residual branches.

        At a sum, the branch is the input with most weights on its path since both were one; the other is the skip,
        with no weight or with one of the branch's kind (a projection). A time embedding that is added to a convolved
        image is of another kind.
        """
        return {last for branch, fork in self.branches() for last in self._last_weights(branch, fork)}

    def branches(self) -> list[tuple[int, int]]:
        """Return each residual branch: the node that enters the sum at its end, and the node that it began at."""
        depth = self._depths()
        found: list[tuple[int, int]] = []
        for index, node in enumerate(self.nodes):
            inputs = [source for source in self.before[index] if self.op(source) != "parameter"]
            if node.op != "sum" or len(inputs) != 2:
                continue
            skip, branch = sorted(inputs, key=lambda source: depth[source])
            fork = self._fork(skip, branch) if depth[branch] > depth[skip] else None
            if fork is None or depth[skip] - depth[fork] > 1:
                continue
            kinds = self._kinds(self._last_weights(branch, fork))
            if depth[skip] == depth[fork] or kinds & self._kinds(self._last_weights(skip, fork)):
                found.append((branch, fork))
        return found

    def _kinds(self, weights: Iterable[int]) -> set[str]:
        return {KINDS.get(self.op(index), "") for index in weights}

    def _last_weights(self, branch: int, fork: int) -> set[int]:
        found: set[int] = set()
        met: set[int] = set()
        stack = [branch]
        while stack:
            node = stack.pop()
            if node <= fork or node in met or self.op(node) in _ENDS_BRANCH:
                continue
            met.add(node)
            if self.op(node) in WEIGHT_OPS:
                found.add(node)
            else:
                self.step(1 + len(self.before[node]))
                stack.extend(self.before[node])
        return found

    def _depths(self) -> list[int]:
        """Return for each node the largest number of weights on a path from an input to it."""
        depth: list[int] = []
        for index, node in enumerate(self.nodes):
            deepest = max((depth[source] for source in self.before[index]), default=0)
            depth.append(deepest + (node.op in KINDS or node.op == "recurrent"))
        return depth

    def _fork(self, one: int, other: int) -> int | None:
        """Return the nearest node that both come from; it may be one of them."""
        colours = {one: 1, other: 2} if one != other else {one: 3}
        heap = [-node for node in colours]
        heapq.heapify(heap)
        while heap:
            node = -heapq.heappop(heap)
            if colours[node] == 3:
                return node
            self.step(1 + len(self.before[node]))
            for source in self.before[node]:
                if source not in colours:
                    heapq.heappush(heap, -source)
                colours[source] = colours.get(source, 0) | colours[node]
        return None
