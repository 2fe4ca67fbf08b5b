"""Removal of nodes that the published vocabulary lacks, by the rules of the published code.

The rules look at names, and at the names next to a node's in the list of nodes, which is why the order of
discovery and of the removals matters.
"""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import final

from paramgen.graphs.views.published.draft import Draft
from paramgen.graphs.views.published.vocabulary import RMS_NORM, PrimitiveSet, is_a, is_supported

JOINS = ("Add", "Cat")


def filter_unsupported(draft: Draft, family: PrimitiveSet) -> None:
    """Remove products, averages and sums that do not count, and every node whose operation the vocabulary lacks."""
    records = (draft.records[index] for index in draft.indices())
    unsupported = dict.fromkeys(record.name for record in records if not is_supported(record, family))
    filter_nodes(draft, ("Mul", *unsupported, "Mean", *JOINS), family)


def filter_nodes(draft: Draft, entries: Iterable[str], family: PrimitiveSet) -> None:
    """Remove, entry by entry, the nodes whose name contains it, except those that a rule keeps."""
    rules = _Rules(draft, family)
    for entry in entries:
        matched = [index for index in rules.matches(entry) if index in draft]
        names = rules.list_names() if any(rules.looks_around(index) for index in matched) else []
        removed = [index for index in matched if not rules.keeps(index, names)]
        for index in removed:
            draft.remove(index)


@final
class _Rules:
    """What is fixed when a filter pass begins: names, in-degrees, and what kind of network this is."""

    def __init__(self, draft: Draft, family: PrimitiveSet) -> None:
        self._draft = draft
        self._indices = draft.indices()
        self._names = {index: draft.records[index].name for index in self._indices}
        self._incoming = {index: len(draft.predecessors[index]) for index in self._indices}
        lower = [name.lower() for name in self._names.values()]
        text = family == "logah_gpt"
        self._gated = any("sigmoid" in name or "swish" in name for name in lower)
        self._llama = text and any("mlp.gate_proj" in name for name in lower)
        self._root_mean = text and any(is_a(draft.records[index].module, RMS_NORM) for index in self._indices)
        self._text = "\n".join(self._names.values())
        self._starts = [0, *accumulate(len(name) + 1 for name in lower)]
        self._positions: dict[int, int] = {}

    def matches(self, entry: str) -> list[int]:
        """Return the nodes whose name contains `entry`; one search in all names is much faster than one per name."""
        found, at = [], self._text.find(entry)
        while at >= 0:
            position = bisect_right(self._starts, at) - 1
            found.append(self._indices[position])
            at = self._text.find(entry, self._starts[position + 1])
        return found

    def looks_around(self, index: int) -> bool:
        """Whether the rule for a node depends on its neighbours in the list."""
        return (self._gated or self._llama) and self._names[index].startswith(("Mul", "Mean", *JOINS))

    def list_names(self) -> list[str]:
        """Return the names in the list as it is now."""
        indices = self._draft.indices()
        self._positions = {index: position for position, index in enumerate(indices)}
        return [self._names[index].lower() for index in indices]

    def keeps(self, index: int, names: list[str]) -> bool:
        """Whether a node that an entry names stays."""
        name = self._names[index]
        if name.startswith("Mean"):
            return self._is_head(index, names) if self._gated else not self._root_mean
        if name.startswith("Mul"):
            if self._llama:
                return self._gates_features(index, names)
            return self._gated and not self._is_head(index, names) and self._scales_channels(index, names)
        joins = name.startswith(JOINS) and self._incoming[index] > 1
        return joins and not (self._llama and (name.startswith("Cat") or self._rotates(index, names)))

    def _is_head(self, index: int, names: list[str]) -> bool:
        """Whether the classifier follows: nodes are listed from the output backwards."""
        position = self._positions[index]
        if position + 1 >= len(names) or position - 3 < -len(names):
            return True
        return any(names[position - back].startswith(("classifier", "fc", "head")) for back in (1, 2))

    def _scales_channels(self, index: int, names: list[str]) -> bool:
        """Whether a product is a squeeze-and-excitation; negative positions wrap around, as in the published code."""
        position = self._positions[index]
        return (
            names[position - 2].startswith(("hard", "sigmoid"))
            or names[position - 3].startswith(("relu", "mean"))
            or names[position + 1].startswith(("hard", "sigmoid", "relu"))
        )

    def _gates_features(self, index: int, names: list[str]) -> bool:
        """Whether a product is the gate of a Llama block: the activation is before it and the layer after it."""
        position = self._positions[index]
        after = names[position + 1 : position + 2]
        return names[position - 2].endswith("down_proj.weight") and after != [] and after[0].startswith("silu")

    def _rotates(self, index: int, names: list[str]) -> bool:
        """Whether a sum belongs to rotary embeddings or to a mask, and not to a residual connection."""
        position = self._positions[index]
        around = (names[position - 1], names[position - 2], *names[position + 1 : position + 2])
        return any(name.startswith(("neg", "softmax")) for name in around)
