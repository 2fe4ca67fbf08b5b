"""What stands around a weight: what its data comes from and goes to, and at which scale, or in what text."""

from collections.abc import Mapping
from math import log2
from typing import Final, NamedTuple, final

from paramgen.graphs.ops import NORMS, WEIGHTS
from paramgen.graphs.roles import Flow
from paramgen.graphs.schema import Graph

_ACTIVATIONS: Final = frozenset(("relu", "gelu", "silu", "sigmoid", "tanh", "activation"))
_ATTENTION: Final = frozenset(("attention", "softmax", "matmul"))
_ENDS: Final = WEIGHTS | _ATTENTION | {"sum", "concat", "input", "output"}
_KINDS: Final[Mapping[str, str]] = {"conv": "conv", "depthwise_conv": "dw", "dilated_conv": "conv", "linear": "pw"}
TOKENS: Final = "tokens"
ROTARY: Final = "rotary"
ABSOLUTE: Final = "absolute"
POST_NORM: Final = "postnorm"


class _Met(NamedTuple):
    """A node at which a walk ends, and what it passed on the way."""

    node: int
    activated: bool
    pooled: bool
    gated: bool


@final
class Neighbours:
    """Answers about the surroundings of one graph's nodes."""

    def __init__(self, graph: Graph) -> None:
        flow = Flow(graph)
        self.nodes, self.before, self.after = flow.nodes, flow.before, flow.after
        self.input = next((node.shape[-1] for node in graph.nodes if node.op == "input" and len(node.shape) == 4), 0)
        self.tokens = TOKENS if self.input else self._text()
        self._sides = self._measure()

    def kind(self, index: int) -> str:
        """Return `pw` (pointwise), `conv3`, `dw7`, or nothing for what is no such weight."""
        node = self.nodes[index]
        if node.op not in _KINDS:
            return ""
        if node.op == "linear":
            return "pw"
        size = node.shape[-1]
        if len(node.shape) == 4 and node.shape[-2] != size:
            return ""
        if node.op != "depthwise_conv" and node.attributes.get("groups", 1) != 1:
            return ""
        return "pw" if size == 1 else f"{_KINDS[node.op]}{size}"

    def stride(self, index: int) -> int:
        """Return the stride along the last side."""
        stride = self.nodes[index].attributes.get("stride", 1)
        return int(stride[-1] if isinstance(stride, tuple) else stride)

    def is_stem(self, index: int) -> bool:
        """Whether a weight reads images, of three colours or grey."""
        node = self.nodes[index]
        return node.op == "conv" and len(node.shape) == 4 and node.shape[1] in (1, 3)

    def scale(self, index: int) -> str:
        """Return how often the side of the image was halved, up to and with the node; without one, what tokens are."""
        side = self._sides[index]
        return self.tokens if side is None else str(round(log2(max(1.0, self.input / side))))

    def looks_up(self, index: int) -> bool:
        """Whether a node looks up what the network is given, as words are."""
        return self.nodes[index].op == "embedding" and any(
            self.nodes[node].op == "input" for node in self.before[index]
        )

    def looks_up_positions(self, index: int) -> bool:
        """Whether a node looks up rows that depend on nothing given, and adds them to what does."""
        alone = self.nodes[index].op == "embedding" and not self.before[index]
        return alone and len(self.after[index]) == 1 and self.nodes[self.after[index][0]].op == "sum"

    def behind(self, index: int) -> str:
        """Return the name of what a weight's data comes from."""
        met = self._met(index, self.before)
        return "pool" if met is not None and met.pooled else self._called(met)

    def ahead(self, index: int) -> str:
        """Return the name of what a weight's data goes to."""
        met = self._met(index, self.after)
        return "gate" if met is not None and met.gated else self._called(met)

    def next_weight(self, index: int) -> int | None:
        """Return the weight that a node's data enters next, if nothing else is in between."""
        met = self._met(index, self.after)
        return met.node if met is not None and self.nodes[met.node].op in WEIGHTS else None

    def owner_behind(self, product: int, factor: int, parts: Mapping[int, tuple[str, str]]) -> str | None:
        """Return the weight whose output a product multiplies by `factor`."""
        others = [node for node in self.before[product] if node != factor]
        while others and others[0] not in parts:
            others = self.before[others[0]]
        return parts[others[0]][0] if others else None

    def mixes_tokens(self, index: int) -> bool:
        """Whether a linear weight maps tokens to tokens, as in an image's Mixer, instead of channels to channels."""
        if self.nodes[index].op != "linear" or len(self.nodes[index].shape) < 2 or not self.input:
            return False
        met = self._met(index, self.before)
        if met is None:
            return False
        if self.nodes[met.node].op == "linear":
            return self.mixes_tokens(met.node)
        if self.is_stem(met.node):
            return self.nodes[index].shape[1] != self.nodes[met.node].shape[0]
        shape = self._result(met.node)
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

    def _met(self, index: int, neighbours: list[list[int]]) -> _Met | None:
        """Return the first weight, sum, attention or end, straight on if possible, not by way of a pool or gate."""
        met: list[_Met] = []
        stack = [_Met(node, False, False, False) for node in neighbours[index]]
        seen = set()
        while stack:
            here = stack.pop()
            op = self.nodes[here.node].op
            if here in seen or op == "parameter":
                continue
            seen.add(here)
            if op in _ENDS and not self._takes_parameter(here.node):
                met.append(here)
                continue
            activated = op in _ACTIVATIONS or self._written_gelu(here.node)
            passed = (here.activated or activated, here.pooled or self._pools(here.node))
            gated = here.gated or op == "sigmoid"
            stack.extend(_Met(node, *passed, gated) for node in neighbours[here.node])
        straight = [end for end in met if not end.pooled and not end.gated]
        return min(straight or met, default=None)

    def _takes_parameter(self, index: int) -> bool:
        """Whether a node only adds or appends a parameter: a position table, a class token."""
        joins = self.nodes[index].op in ("sum", "concat")
        return joins and any(self.nodes[node].op == "parameter" for node in self.before[index])

    def _written_gelu(self, index: int) -> bool:
        """Whether a product is that of a value and its tanh, as GPT-2's GELU is written out."""
        if self.nodes[index].op != "multiply":
            return False
        factors = self.before[index]
        return any(self.nodes[node].op == "tanh" and self.before[node][0] in factors for node in factors)

    def _text(self) -> str:
        """Return what the tokens of a text are: by the norm behind its sums, or by how positions are told."""
        ops = [node.op for node in self.nodes]
        if any(op == "sum" and any(self._normalized(node) for node in self.before[at]) for at, op in enumerate(ops)):
            return POST_NORM
        turned = (
            op == "concat" and any(ops[node] == "negate" for node in self.before[at]) for at, op in enumerate(ops)
        )
        return ROTARY if any(turned) else ABSOLUTE

    def _normalized(self, index: int) -> bool:
        """Whether a node is what a norm returns."""
        while self.nodes[index].op == "bias":
            index = self.before[index][0]
        return self.nodes[index].op in NORMS

    def _pools(self, index: int) -> bool:
        """Whether a node takes the mean over the whole image."""
        node = self.nodes[index]
        return node.op in ("mean", "average_pool") and (len(node.shape) == 2 or node.shape[-2:] == (1, 1))

    def _result(self, index: int) -> tuple[int, ...]:
        """Return the shape of what a node, or the operation behind its parameters, returns."""
        while self.nodes[index].slot is not None and self.after[index]:
            index = min(self.after[index])
        return self.nodes[index].shape if self.nodes[index].slot is None else ()

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
        shape = self._result(index) if node.slot is not None else node.shape
        if node.slot is not None:
            return None if len(shape) == 3 else before
        if len(shape) == 3:
            return None
        if len(shape) != 4 or node.op in _ATTENTION or shape[-2:] == (1, 1) or shape[1:3] == (1, 1):
            return before
        return shape[-1] if shape[-1] == shape[-2] else shape[1] if shape[1] == shape[2] else before
