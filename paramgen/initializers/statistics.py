"""Weights drawn with the standard deviations that weights of their role have in trained networks, at any size.

What is kept of the trained weights is one number for each role and depth: their standard deviation times the root of
the fan-in, which does not depend on the width (LeCun et al., 1998, "Efficient BackProp", §4.6, has 1 for all). Position
tables, class tokens and layer scales, which libraries begin near zero, get their trained size as well.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Final, final

import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.roles import biases_of, linear_maps_of
from paramgen.graphs.analysis.weight_roles import WeightPart, weight_roles_of
from paramgen.graphs.schema import Graph
from paramgen.hypernets.statistics import StatisticsTable, read_table
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.library import by_rule, complete_rules, default_weights
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import Manifest, Slot
from paramgen.storage.digest import cached_sha256
from paramgen.storage.pretrained import pretrained_folder

STATISTICS: Final = "statistics"
STATISTICS_TABLE: Final = "table.json"


@final
@initializers.register(STATISTICS)
@dataclass(frozen=True, kw_only=True)
class Statistics(Initializer):
    """Each weight at the standard deviation that its role has in trained networks, at any size; biases zero.

    Norms, tables of tokens and recurrent weights keep the library's values.
    """

    group: ClassVar[str] = "learned"
    applies_to: ClassVar[str] = "linear layers, convolutions, position tables, class tokens and layer scales"

    path: str = ""  # a JSON file of standard deviations by role; empty: the one that comes with paramgen

    def __post_init__(self) -> None:
        if not isinstance(self.path, str):
            raise OptionError(f"path is {self.path!r}. Allowed: a JSON file. Type: --init statistics:FILE")

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `statistics` for what is drawn, `zero` for the biases of linear maps, the library's elsewhere."""
        return Drawing(graph, architecture.manifest, self.table).rules(architecture, graph)

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Draw one slot after the other."""
        values = self.values(architecture, graph, seed=seed)
        return ((slot.name, values(slot)) for slot in architecture.manifest.filled)

    def values(self, architecture: Architecture, graph: Graph, *, seed: int) -> Callable[[Slot], Tensor]:
        """Return the function that computes one slot, whichever is needed next."""
        drawing = Drawing(graph, architecture.manifest, self.table)
        rules = drawing.rules(architecture, graph)
        make = partial(drawing.values, seed=seed)
        return lambda slot: by_rule(slot, rules[slot.name], make, seed=seed)

    def builds_on(self, architecture: Architecture, graph: Graph) -> frozenset[str]:
        """Return packed weights that have rows which it does not fill."""
        drawing = Drawing(graph, architecture.manifest, self.table)
        return frozenset(name for name in drawing.parts if not drawing.whole(architecture.manifest[name]))

    def describe(self) -> Mapping[str, Any]:
        """Return the table's origin and the sha256 of its file."""
        origin = self.path or f"paramgen/{STATISTICS}"
        return {"statistics": origin, "sha256": cached_sha256(self._file)}

    def provenance(self) -> Mapping[str, Any]:
        """Return where the table comes from, and what it was collected from."""
        return {**self.table.sources, "from": self.describe()["statistics"]}

    @cached_property
    def table(self) -> StatisticsTable:
        """The standard deviations, read at first use."""
        return read_table(self._file)

    @property
    def _file(self) -> Path:
        file = Path(self.path) if self.path else pretrained_folder(STATISTICS) / STATISTICS_TABLE
        if not file.is_file():
            raise OptionError(f"There is no file {one_line(repr(self.path))}. Type: --init statistics")
        return file


@final
class Drawing:
    """What a table says of one network's slots, and the values drawn by it."""

    def __init__(self, graph: Graph, manifest: Manifest, table: StatisticsTable) -> None:
        self._table = table
        self._maps = linear_maps_of(graph, manifest)
        roles = weight_roles_of(graph, manifest, self._maps)
        self.parts = {
            name: known
            for name, parts in roles.items()
            if (known := tuple(part for part in parts if part.role in table.std))
            and manifest[name].dtype.is_floating_point
        }

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `statistics` for what is drawn, `zero` for the biases of linear maps, the library's elsewhere."""
        zero = biases_of(graph, architecture.manifest, self.parts.keys() & self._maps.keys())
        return complete_rules(architecture, dict.fromkeys(self.parts, STATISTICS), zero)

    @torch.no_grad()
    def values(self, slot: Slot, seed: int) -> Tensor:
        """Return the values of a slot that has a role, in its own shape and dtype."""
        linear_map = self._maps.get(slot.name)
        generator = slot_generator(seed, slot.name)
        if linear_map is None:
            return self._beside(slot, seed, generator)
        drawn = torch.empty(linear_map.groups, linear_map.out, linear_map.fan, *linear_map.kernel)
        drawn.normal_(generator=generator)
        drawn /= linear_map.fan_in**0.5
        for part in self.parts[slot.name]:
            drawn[:, part.start : part.stop] *= self._std(part)
        stored = linear_map.stored(drawn, slot)
        return stored if self.whole(slot) else self._with_default_rows(slot, stored, seed)

    def whole(self, slot: Slot) -> bool:
        """Whether all rows of a slot have a role; some packed weights have others beside queries, keys and values."""
        linear_map = self._maps.get(slot.name)
        covered = sum((part.stop or linear_map.out) - part.start for part in self.parts[slot.name]) if linear_map else 0
        return linear_map is None or covered == linear_map.out

    def _beside(self, slot: Slot, seed: int, generator: torch.Generator) -> Tensor:
        """Return a position table or token, or the layer scales of a branch: of those that begin at zero, zero."""
        (part,) = self.parts[slot.name]
        std = self._std(part)
        default = default_weights(slot, seed)
        if part.role == "layer_scale":
            return torch.where(default > 0, default.clamp(min=std), default)
        return torch.empty(slot.shape).normal_(0.0, std, generator=generator).to(slot.dtype)

    def _std(self, part: WeightPart) -> float:
        found = self._table.at(part.role, part.depth)
        assert found is not None, "roles that the table does not have were left out"
        return found

    def _with_default_rows(self, slot: Slot, drawn: Tensor, seed: int) -> Tensor:
        values = default_weights(slot, seed)
        target, source = (each.T if self._maps[slot.name].in_out else each for each in (values, drawn))
        for part in self.parts[slot.name]:
            target[part.start : part.stop] = source[part.start : part.stop]
        return values
