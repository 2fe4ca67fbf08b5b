"""What a preparation made of a network, as an initializer: so it is written, recorded and checked like any other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

from jaxtyping import Bool
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors
from paramgen.modifiers.constraints import Constraint
from paramgen.modifiers.masking.holding import Masking
from paramgen.prediction import Prediction


@final
@dataclass(frozen=True, kw_only=True)
class PreparedWeights(Initializer):
    """Tensors in memory: `trained` by slot, and the initialization of the slots that are not in it."""

    slot_by_slot: ClassVar[bool] = False

    rule: str  # the preparation's name
    trained: Mapping[str, Tensor] = field(repr=False)
    before: Prediction = field(repr=False)
    record: Mapping[str, Any]
    kept: Mapping[str, Bool[Tensor, "..."]] | None = field(default=None, repr=False)

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return the preparation's name for what was trained, the initializer's rule elsewhere."""
        return {name: self.rule if name in self.trained else rule for name, rule in self.before.rules.items()}

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Yield what was trained, and what the initializer makes of the other slots."""
        for name, tensor in self.before:
            yield name, self.trained.get(name, tensor)

    def describe(self) -> Mapping[str, Any]:
        """Return how they were made, and what identifies the initializer that they were made from."""
        return {**self.before.resolved.initializer.describe(), "preparation": dict(self.record)}

    def remarks(self) -> Sequence[str]:
        """Return how the training went, what went back to its initialization, and what the initializer remarks."""
        steps, first, loss = (self.record[key] for key in ("steps", "first_loss", "loss"))
        went = f"{steps:,} steps of {self.rule} took the loss from {first:.4g} to {loss:.4g}."
        note = str(self.record["returned"])
        return (went, *((note,) if note else ()), *self.before.initializer.remarks())

    def constraint(self) -> Constraint | None:
        """Return which weights are kept, where the preparation leaves some out."""
        return None if self.kept is None else Masking(kind="pruned", masks=self.kept)

    def provenance(self) -> Mapping[str, Any]:
        """Return whose weights the initializer used."""
        return self.before.initializer.provenance()
