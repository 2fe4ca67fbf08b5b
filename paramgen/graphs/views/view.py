"""What a hypernet sees of a graph: primitives, shapes, distances, and which slots it is requested to fill."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Int64, UInt8
from torch import Tensor

from paramgen.graphs.analysis.addressed_slots import AddressedSlot
from paramgen.graphs.analysis.slot_roles import Role

Vocabulary = Literal["native", "published"]
"""What a primitive's index means: `native` is `ops.VOCABULARY`, `published` the 15 or 18 of GHN-3 and LoGAH."""


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """One slot to predict: from which node, in which role, of which shape, with which fan-in."""

    slot: str
    node: int
    role: Role
    shape: tuple[int, ...]  # the slot's own shape
    in_out: bool = False  # the weight maps rows to columns (GPT-2's Conv1D): predicted transposed


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The input of an encoder."""

    primitives: Int64[Tensor, " nodes"]
    shapes: tuple[tuple[int, ...] | None, ...]  # per node; None: the node has no shape to encode
    distances: Int64[Tensor, "nodes nodes"] | UInt8[Tensor, "nodes nodes"] | UInt8[Tensor, "0 0"]
    """Row = source, column = destination: 1 an edge, k > 1 a virtual edge of that length, 0 none. Empty for
    a supernet, which reads addresses alone."""
    requests: tuple[SlotRequest, ...]  # in node order
    vocabulary: Vocabulary = "native"
    initializer_range: float | None = None  # the target's own, where its library states one
    addressed_slots: Mapping[str, AddressedSlot] = field(default_factory=dict)
    """By slot; empty where there are none, and in the published vocabulary."""
    spelling: Int64[Tensor, "rows letters"] | None = None  # of a text network's tokens: bytes from the first, then -1
