"""What of a network decides how near a donor is: its family, its sizes, and the operations that it is made of."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import log2, prod
from typing import Any, Final, final

from paramgen.graphs.analysis.model_families import ModelFamily
from paramgen.graphs.analysis.neighbours import Neighbours
from paramgen.graphs.ops import NORMS
from paramgen.graphs.schema import Node
from paramgen.initializers.inheritance.network import Network

WIDTH, DEPTH, PATCH, INPUT, OPERATIONS = 1.0, 0.5, 0.25, 0.125, 2.0
"""What a factor of two in each is worth, and operations that have nothing in common."""

_COUNTED: Final = NORMS | {"normalize", "relu", "gelu", "silu", "sigmoid", "tanh", "activation"}
_CONVOLUTIONS: Final = frozenset(("conv", "depthwise_conv", "dilated_conv", "transposed_conv"))


@final
@dataclass(frozen=True, kw_only=True)
class NetworkProfile:
    """A network in a few figures."""

    family: ModelFamily
    parameters: int
    widths: tuple[int, int]  # channels that the first block adds to, and the last; of weights where there are no blocks
    depth: int  # residual branches, or weights where there are none
    patch: int = 0  # the stride of what reads the image; 0 where there is none
    input: int = 0  # the image's height, or the number of tokens
    operations: Mapping[str, float]  # the share of each kind, `conv3` for instance

    def distance(self, other: "NetworkProfile") -> float:
        """Return how far another network of the same family is; 0 for the same sizes and operations."""
        widths = ((mine, its, WIDTH / 2) for mine, its in zip(self.widths, other.widths, strict=True))
        sizes = (*widths, (self.depth, other.depth, DEPTH))
        inputs = ((self.patch, other.patch, PATCH), (self.input, other.input, INPUT))
        found = sum(by * abs(log2(mine / its)) for mine, its, by in (*sizes, *inputs) if mine and its)
        kinds = self.operations.keys() | other.operations.keys()
        apart = sum(abs(self.operations.get(kind, 0.0) - other.operations.get(kind, 0.0)) for kind in kinds) / 2
        return found + OPERATIONS * apart

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, as a row of the catalog has it."""
        return {
            "family": self.family,
            "parameters": self.parameters,
            "widths": list(self.widths),
            "depth": self.depth,
            **({"patch": self.patch} if self.patch else {}),
            **({"input": self.input} if self.input else {}),
            "operations": dict(self.operations),
        }


def profile_of(network: Network) -> NetworkProfile:
    """Return the profile of a network whose order is known."""
    maps = [slot for slot in network.nodes if network.axes[slot].use == "map" and slot not in network.heads]
    ends = [slot for slot in maps if slot in network.ends_of_branches] or maps  # in forward order
    near = Neighbours(network.graph)
    widths = [_outputs(network, slot) for slot in ends if not near.mixes_tokens(network.nodes[slot])]
    images = [node.shape for node in network.graph.nodes if node.op == "input" and len(node.shape) == 4]
    first = next(iter(maps), None)
    manifest = network.architecture.manifest
    tokens = [manifest[slot].shape[0] for slot in network.nodes if network.op(slot) == "embedding"]
    return NetworkProfile(
        family=network.family,
        parameters=manifest.parameters,
        widths=(widths[0], widths[-1]) if widths else (0, 0),
        depth=len(ends),
        patch=network.axes[first].stride if images and first is not None else 0,
        input=images[0][2] if images else max(tokens, default=0),
        operations=_operations(network, {first, *network.heads} if images else network.heads),
    )


def _outputs(network: Network, slot: str) -> int:
    return max(part.stop for part in network.axes[slot].parts)


def _operations(network: Network, left_out: frozenset[str] | set[str | None]) -> dict[str, float]:
    """Return the share of each kind of operation, what reads the image and the output left out."""
    kinds = (_kind(node) for node in network.graph.nodes if node.slot is None or node.slot not in left_out)
    counts = Counter(kind for kind in kinds if kind)
    total = max(1, sum(counts.values()))
    return {kind: round(count / total, 3) for kind, count in sorted(counts.items())}


def _kind(node: Node) -> str:
    """Return an operation with its kernel, `conv3` or `pointwise`; nothing of what only joins others."""
    if node.op == "linear":
        return "pointwise"
    if node.op not in _CONVOLUTIONS:
        return node.op if node.op in _COUNTED else ""
    kernel = node.shape[2:]
    if prod(kernel) == 1:
        return "pointwise"
    groups = node.attributes.get("groups", 1)
    grouped = "grouped_" if node.op == "conv" and groups != 1 else ""
    return f"{grouped}{node.op}{max(kernel)}"
