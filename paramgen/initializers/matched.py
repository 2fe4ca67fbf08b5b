"""Control: the default initialization, each tensor scaled to the norm that another initializer gives it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.graphs.schema import Graph
from paramgen.initializers import Control, NamedTensors, initializers
from paramgen.initializers.library import DEFAULTS, default_weights, library_rule

MATCHED: Final = "matched"


@final
@initializers.register(MATCHED)
@dataclass(frozen=True, kw_only=True)
class Matched(Control):
    """The default initialization at the norms that another initializer gives the matrices, matched:INIT."""

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `matched` for matrices and kernels that the other has a rule for; vectors keep default values."""
        own = {slot.name: library_rule(slot) for slot in architecture.manifest.filled}
        for name, rule in self.inner.rules(architecture, graph).items():
            slot = architecture.manifest[name]
            if rule not in DEFAULTS and len(slot.shape) > 1 and slot.dtype.is_floating_point:
                own[name] = MATCHED
        return own

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Draw each slot as the library does and scale it to the norm of the other's tensor."""
        rules = self.rules(architecture, graph)
        for name, tensor in self.inner.tensors(architecture, graph, seed=seed):
            drawn = default_weights(architecture.manifest[name], seed)
            yield name, at_norm_of(drawn, tensor) if rules[name] == MATCHED else drawn


@torch.no_grad()
def at_norm_of(drawn: Tensor, other: Tensor) -> Tensor:
    """Return `drawn` scaled to the Euclidean norm of `other`; zeros have no direction and stay."""
    own, wanted = (float(torch.linalg.vector_norm(each, dtype=torch.float64)) for each in (drawn, other))
    return drawn * (wanted / own) if own > 0 else drawn
