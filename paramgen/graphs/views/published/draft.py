"""A graph under construction: records by index, edges as sets, so that removing a node costs only its neighbours."""

from dataclasses import dataclass
from typing import final

from torch import nn


@final
@dataclass(frozen=True, slots=True)
class Record:
    """What a node represents: a parameter (it has a module) or an operation of the autograd graph."""

    name: str  # the parameter's name, with a leading dot at the root; else the class name of the autograd node
    shape: tuple[int, ...] | None = None
    module: nn.Module | None = None
    kernel: tuple[int, ...] | None = None

    @property
    def operation(self) -> str:
        """The name without what autograd appends."""
        return self.name.split("Backward", 1)[0]


@final
class Draft:
    """Nodes keep their index when others are removed: the order of indices is the order of discovery."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.successors: list[set[int]] = []
        self.predecessors: list[set[int]] = []
        self._removed: set[int] = set()

    def add(self, record: Record) -> int:
        """Add a node and return its index."""
        self.records.append(record)
        self.successors.append(set())
        self.predecessors.append(set())
        return len(self.records) - 1

    def connect(self, source: int, destination: int) -> None:
        """Add an edge."""
        self.successors[source].add(destination)
        self.predecessors[destination].add(source)

    def disconnect(self, source: int, destination: int) -> None:
        """Remove an edge, if it is there."""
        self.successors[source].discard(destination)
        self.predecessors[destination].discard(source)

    def remove(self, node: int) -> None:
        """Remove a node and connect what was before it with what was after it."""
        before, after = self.predecessors[node] - {node}, self.successors[node] - {node}
        for source in before:
            self.disconnect(source, node)
        for destination in after:
            self.disconnect(node, destination)
        for source in before:
            for destination in after - {source}:
                self.connect(source, destination)
        self._removed.add(node)

    def indices(self) -> list[int]:
        """Return the nodes that are still there, in order."""
        return [index for index in range(len(self.records)) if index not in self._removed]

    def __contains__(self, node: int) -> bool:
        return node not in self._removed
