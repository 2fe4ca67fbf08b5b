"""The surroundings of a weight: what its data comes from and goes to, and at which scale of the image."""

from collections.abc import Iterable, Mapping
from math import log2
from typing import Final, NamedTuple, final

from paramgen.graphs.analysis.roles import Flow
from paramgen.graphs.ops import NORMS, WEIGHT_OPS
from paramgen.graphs.schema import Graph

_ACTIVATIONS: Final = frozenset(("relu", "gelu", "silu", "sigmoid", "tanh", "activation"))
_ATTENTION: Final = frozenset(("attention", "softmax", "matmul"))
_ENDS: Final = WEIGHT_OPS | _ATTENTION | {"sum", "concat", "input", "output"}
_KINDS: Final[Mapping[str, str]] = {"conv": "conv", "depthwise_conv": "dw", "dilated_conv": "conv", "linear": "pw"}
NEAR_OPERATIONS: Final = 64
"""At most so many nodes are between a weight and the product that scales what it returns."""
TOKENS: Final = "tokens"
ROTARY: Final = "rotary"
ABSOLUTE: Final = "absolute"
POST_NORM: Final = "postnorm"


class _Met(NamedTuple):
    """A node at which a walk ends, and what it passed before."""

    node: int
    activated: bool
    pooled: bool
    gated: bool


class _Nearest(NamedTuple):
    """The first ends that a walk meets: without passing a pool or gate, and passing anything."""

    straight: _Met | None
    any: _Met | None


def _nearest(found: Iterable[_Nearest]) -> _Nearest:
    known = list(found)
    straight = min((each.straight for each in known if each.straight is not None), default=None)
    return _Nearest(straight, min((each.any for each in known if each.any is not None), default=None))


@final
class Neighbours:
    """Answers about the surroundings of one graph's nodes."""

    def __init__(self, graph: Graph) -> None:
        flow = Flow(graph)
        self.nodes, self.before, self.after = flow.nodes, flow.before, flow.after
        self.input = next((node.shape[-1] for node in graph.nodes if node.op == "input" and len(node.shape) == 4), 0)
        self._parametrized = [self._takes_parameter(index) for index in range(len(self.nodes))]
        self._gelus = [self._written_gelu(index) for index in range(len(self.nodes))]
        self.tokens = TOKENS if self.input else self._text()
        self._results = self._shapes()
        self._sides = self._measure()
        self._ends: dict[bool, dict[_Met, _Nearest]] = {True: {}, False: {}}  # ahead or behind: by where a walk is
        self._mixing: dict[int, bool] = {}

    def kind(self, index: int) -> str:
        """Return `pw` (pointwise), `conv3`, `dw7`, or nothing for what is no such weight."""
        node = self.nodes[index]
        if node.op not in _KINDS:
            return ""
        if node.op == "linear":
            return "pw"
        if not node.shape:
            return ""
        size = node.shape[-1]
        if len(node.shape) == 4 and node.shape[-2] != size:
            return ""
        if node.op != "depthwise_conv" and node.attributes.get("groups", 1) != 1:
            return ""
        return "pw" if size == 1 else f"{_KINDS[node.op]}{size}"

    def stride(self, index: int) -> int:
        """Return the stride along the last side."""
        stride = self.nodes[index].attributes.get("stride", 1)
        last = stride[-1] if isinstance(stride, tuple) and stride else stride
        return max(1, last) if isinstance(last, int) else 1

    def is_stem(self, index: int) -> bool:
        """Whether a weight reads images, of three colours or grey."""
        node = self.nodes[index]
        return node.op == "conv" and len(node.shape) == 4 and node.shape[1] in (1, 3)

    def scale(self, index: int) -> int | str:
        """Return how often the side of the image was halved, up to and with the node; among tokens, `self.tokens`."""
        side = self._sides[index]
        return self.tokens if side is None else round(log2(max(1.0, self.input / side)))

    def looks_up(self, index: int) -> bool:
        """Whether a node looks up the network's input in a table, as tokens are."""
        return self.nodes[index].op == "embedding" and any(
            self.nodes[node].op == "input" for node in self.before[index]
        )

    def looks_up_positions(self, index: int) -> bool:
        """Whether a node looks up rows that depend on nothing given, and adds them to what does."""
        alone = self.nodes[index].op == "embedding" and not self.before[index]
        return alone and len(self.after[index]) == 1 and self.nodes[self.after[index][0]].op == "sum"

    def behind(self, index: int) -> str:
        """Return the name of what a weight's data comes from."""
        met = self._met(index, ahead=False)
        return "pool" if met is not None and met.pooled else self._called(met)

    def ahead(self, index: int) -> str:
        """Return the name of what a weight's data goes to."""
        met = self._met(index, ahead=True)
        return "gate" if met is not None and met.gated else self._called(met)

    def next_weight(self, index: int) -> int | None:
        """Return the weight that a node's data enters next, if nothing else is in between."""
        met = self._met(index, ahead=True)
        return met.node if met is not None and self.nodes[met.node].op in WEIGHT_OPS else None

    def owner_behind(self, product: int, factor: int, parts: Mapping[int, tuple[str, str]]) -> str | None:
        """Return the weight whose output a product, right behind it, multiplies by `factor`."""
        other = next((node for node in self.before[product] if node != factor), None)
        for _ in range(NEAR_OPERATIONS):
            if other is None or other in parts:
                break
            other = next(iter(self.before[other]), None)
        return parts[other][0] if other is not None and other in parts else None

    def mixes_tokens(self, index: int) -> bool:
        """Whether a linear weight maps tokens to tokens, as in an image's Mixer, instead of channels to channels.

        A linear weight right behind another one does what that one does.
        """
        passed: list[int] = []
        here, found = index, self._mixing.get(index)
        while found is None:
            passed.append(here)
            met = None
            if self.nodes[here].op == "linear" and len(self.nodes[here].shape) >= 2 and self.input:
                met = self._met(here, ahead=False)
            if met is None or self.nodes[met.node].op != "linear":
                found = met is not None and self._reads_tokens(here, met.node)
            else:
                here = met.node
                found = self._mixing.get(here)
        self._mixing.update(dict.fromkeys(passed, found))
        return found

    def _reads_tokens(self, index: int, source: int) -> bool:
        """Whether the input channels of a linear weight are the tokens of what it comes from."""
        if self.is_stem(source):
            return self.nodes[index].shape[1] != self.nodes[source].shape[0]
        shape = self._results[source]
        return len(shape) == 3 and self.nodes[index].shape[1] == shape[1] != shape[2]

    def _called(self, met: _Met | None) -> str:
        if met is None:
            return "none"
        op = self.nodes[met.node].op
        if op in _ATTENTION:
            return "attention"
        if op in ("input", "output", "concat"):
            return op
        # Between two weights without an activation there is a stream, as behind MobileNet's linear bottlenecks.
        if op == "sum" or self.is_stem(met.node) or not met.activated:
            return "stream"
        return self.kind(met.node).rstrip("0123456789") or op

    def _met(self, index: int, *, ahead: bool) -> _Met | None:
        """Return the first weight, sum, attention or end that is met, if possible without passing a pool or gate."""
        starts = [_Met(node, False, False, False) for node in (self.after if ahead else self.before)[index]]
        self._walk(starts, ahead=ahead)
        nearest = _nearest(self._ends[ahead][start] for start in starts)
        return nearest.straight or nearest.any

    def _walk(self, starts: list[_Met], *, ahead: bool) -> None:
        """Note what is met from some nodes on, and from all that are passed: no node is walked from twice."""
        known, stack, passed = self._ends[ahead], list(starts), dict[_Met, list[_Met]]()
        while stack:
            here = stack.pop()
            if here in known or here in passed:
                continue
            op = self.nodes[here.node].op
            if op == "parameter":
                known[here] = _Nearest(None, None)
            elif op in _ENDS and not self._parametrized[here.node]:
                known[here] = _Nearest(None if here.pooled or here.gated else here, here)
            else:
                passed[here] = self._next(here, ahead=ahead)
                stack += passed[here]
        for here in sorted(passed, reverse=ahead):  # what lies further on first
            known[here] = _nearest(known[following] for following in passed[here])

    def _next(self, here: _Met, *, ahead: bool) -> list[_Met]:
        op = self.nodes[here.node].op
        activated = here.activated or op in _ACTIVATIONS or self._gelus[here.node]
        passed = (activated, here.pooled or self._pools(here.node), here.gated or op == "sigmoid")
        return [_Met(node, *passed) for node in (self.after if ahead else self.before)[here.node]]

    def _takes_parameter(self, index: int) -> bool:
        """Whether a node only adds or appends a parameter: a position table, a class token."""
        joins = self.nodes[index].op in ("sum", "concat")
        return joins and any(self.nodes[node].op == "parameter" for node in self.before[index])

    def _written_gelu(self, index: int) -> bool:
        """Whether a product is that of a value and its tanh, as GPT-2's GELU is written out."""
        if self.nodes[index].op != "multiply":
            return False
        factors = set(self.before[index])
        tanhs = (self.before[node] for node in factors if self.nodes[node].op == "tanh")
        return any(entering and entering[0] in factors for entering in tanhs)

    def _text(self) -> str:
        """Return the kind of a text's tokens: by the norm behind its sums, or by how positions are encoded."""
        ops = [node.op for node in self.nodes]
        normalized = self._normalized()
        if any(op == "sum" and any(normalized[node] for node in self.before[at]) for at, op in enumerate(ops)):
            return POST_NORM
        turned = (
            op == "concat" and any(ops[node] == "negate" for node in self.before[at]) for at, op in enumerate(ops)
        )
        return ROTARY if any(turned) else ABSOLUTE

    def _normalized(self) -> list[bool]:
        """Return for each node whether it is what a norm returns."""
        found: list[bool] = []
        for index, node in enumerate(self.nodes):
            before = self.before[index]
            found.append(bool(before) and found[before[0]] if node.op == "bias" else node.op in NORMS)
        return found

    def _pools(self, index: int) -> bool:
        """Whether a node takes the mean over the whole image."""
        node = self.nodes[index]
        return node.op in ("mean", "average_pool") and (len(node.shape) == 2 or node.shape[-2:] == (1, 1))

    def _shapes(self) -> list[tuple[int, ...]]:
        """Return for each node the shape of what it, or the operation behind its parameters, returns."""
        found: list[tuple[int, ...]] = [()] * len(self.nodes)
        for index in reversed(range(len(self.nodes))):
            node, after = self.nodes[index], self.after[index]
            found[index] = node.shape if node.slot is None else found[min(after)] if after else ()
        return found

    def _measure(self) -> list[int | None]:
        """Return the side of the image behind each node; None where there are tokens."""
        sides: list[int | None] = []
        for index in range(len(self.nodes)):
            known = [side for node in self.before[index] if (side := sides[node]) is not None]
            sides.append(self._side(index, max(known, default=None)))
        return sides

    def _side(self, index: int, before: int | None) -> int | None:
        node = self.nodes[index]
        if node.op == "input":
            return self.input or None
        if node.op in ("conv", "depthwise_conv", "dilated_conv"):
            return None if before is None else max(1, -(-before // self.stride(index)))
        shape = self._results[index]
        if node.slot is not None:
            return None if len(shape) == 3 else before
        if len(shape) == 3:
            return None
        if len(shape) != 4 or node.op in _ATTENTION or shape[-2:] == (1, 1) or shape[1:3] == (1, 1):
            return before
        side = shape[-1] if shape[-1] == shape[-2] else shape[1] if shape[1] == shape[2] else 0
        return side or before
