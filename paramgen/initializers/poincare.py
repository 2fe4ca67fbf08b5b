"""Layers in the Poincare ball that begin as the identity (van Spengler et al., 2023, arXiv:2303.14027)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, final

import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.library import complete_rules, fill_by_rules
from paramgen.slots.manifest import Manifest, Slot

POINCARE: Final = "poincare"

HYPERBOLIC_LAYERS: Final = ("HLinear", "HConvolution2d", "PoincareLinear", "PoincareConvolution2d")
HYPERBOLIC_WEIGHTS: Final = ("z", "weights", "bias")
"""What hypll and the paper's code call the layers, and their parameters: inputs (times taps) by outputs, a shift."""


@final
@initializers.register(POINCARE)
@dataclass(frozen=True, kw_only=True)
class Poincare(Initializer):
    """Half an identity for layers of the Poincare ball, which then keep their inputs (van Spengler et al., 2023)."""

    group: ClassVar[str] = "formulas"
    applies_to: ClassVar[str] = "hyperbolic layers, as of hypll: HLinear, HConvolution2d"

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return that there is no hyperbolic layer, where there is none."""
        if _layers(architecture.manifest):
            return None
        known = ", ".join(HYPERBOLIC_LAYERS)
        return f"it has no layer of the Poincare ball, which are told by the classes {known}. Type: --init he"

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `poincare` for weights of hyperbolic layers, `zero` for their biases, the library's rule elsewhere."""
        found = _layers(architecture.manifest)
        filled = {slot.name for slot in architecture.manifest.filled}
        weights = {name: POINCARE for name, shape in found.items() if len(shape) == 2 and name in filled}
        return complete_rules(
            architecture, weights, (name for name, shape in found.items() if len(shape) == 1 and name in filled)
        )

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Compute one slot after the other."""

        def make(slot: Slot) -> Tensor:
            return (0.5 * torch.eye(*slot.shape)).to(slot.dtype)

        return fill_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)


def _layers(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights (two dimensions) and biases (one) of hyperbolic layers."""
    return {
        name: slot.shape
        for name, slot in manifest.items()
        if slot.owner_type.rpartition(".")[2] in HYPERBOLIC_LAYERS
        and name.rpartition(".")[2] in HYPERBOLIC_WEIGHTS
        and len(slot.shape) == (1 if name.endswith("bias") else 2)
        and slot.dtype.is_floating_point
    }
