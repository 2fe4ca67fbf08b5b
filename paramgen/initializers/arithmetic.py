"""Neural arithmetic units: weights between which addition and multiplication are found (Madsen & Johansen, 2020).

arXiv:2001.05016.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, final

import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError, one_line
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.library import complete_rules, fill_by_rules
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import Manifest, Slot

ADDITION: Final = "arithmetic addition"
MULTIPLICATION: Final = "arithmetic multiplication"

ARITHMETIC_UNITS: Final[Mapping[str, str]] = {
    "NAU": ADDITION,
    "ReRegualizedLinearNAC": ADDITION,  # spelled so in the paper's code
    "ReRegularizedLinearNAC": ADDITION,
    "NMU": MULTIPLICATION,
    "ReRegualizedLinearMNAC": MULTIPLICATION,
    "ReRegularizedLinearMNAC": MULTIPLICATION,
}
"""Class of the layer -> what its weight, outputs by inputs, begins as."""


@final
@initializers.register("arithmetic")
@dataclass(frozen=True, kw_only=True)
class Arithmetic(Initializer):
    """Uniform weights around 0 for units of addition, from 1/4 to 3/4 for multiplication (Madsen & Johansen, 2020).

    Addition has U(-r, r), r = min(1/2, sqrt(6 / (in + out))). Units are told by the class of the layer, or by `add` and
    `multiply`, regular expressions of slots' names.
    """

    group: ClassVar[str] = "formulas"
    applies_to: ClassVar[str] = "neural arithmetic units: NAU, NMU"

    add: str = ""  # a regular expression of weights that add, besides those told by class
    multiply: str = ""  # of weights that multiply

    def __post_init__(self) -> None:
        for name in ("add", "multiply"):
            pattern = getattr(self, name)
            try:
                re.compile(pattern)
            except (re.error, TypeError) as error:
                raise OptionError(
                    f"{name} is {one_line(repr(pattern))}, which is no regular expression ({one_line(error)}). "
                    f"Type: --init 'arithmetic?{name}=unit.*weight'"
                ) from error

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return that there is no arithmetic unit, where there is none."""
        if self._units(architecture.manifest):
            return None
        return (
            "it has no arithmetic unit, which are told by the classes NAU and NMU. "
            "Type: --init 'arithmetic?add=REGEX&multiply=REGEX', of slots' names"
        )

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return the rule of each unit, the library's elsewhere."""
        return complete_rules(architecture, self._units(architecture.manifest))

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Compute one slot after the other."""
        units = self._units(architecture.manifest)

        def make(slot: Slot) -> Tensor:
            low, high = 0.25, 0.75
            if units[slot.name] == ADDITION:
                high = min(0.5, (6 / sum(slot.shape)) ** 0.5)
                low = -high
            generator = slot_generator(seed, slot.name)
            return torch.empty(slot.shape).uniform_(low, high, generator=generator).to(slot.dtype)

        return fill_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)

    def _units(self, manifest: Manifest) -> dict[str, str]:
        found = {}
        for slot in manifest.filled:
            if (
                slot.kind != "parameter"
                or len(slot.shape) != 2
                or not slot.dtype.is_floating_point
                or not slot.elements
            ):
                continue
            rule = ARITHMETIC_UNITS.get(slot.owner_type.rpartition(".")[2])
            for pattern, named in ((self.add, ADDITION), (self.multiply, MULTIPLICATION)):
                rule = named if pattern and re.search(pattern, slot.name[:1000]) else rule
            if rule is not None:
                found[slot.name] = rule
        return found
