"""Control: another initializer's values in random order, so that only the distribution of each tensor is kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import torch

from paramgen.architectures import Architecture
from paramgen.graphs.schema import Graph
from paramgen.initializers import Control, NamedTensors, initializers
from paramgen.initializers.library import DEFAULTS
from paramgen.slots.init_program import slot_generator

SHUFFLED: Final = "shuffled"


@final
@initializers.register(SHUFFLED)
@dataclass(frozen=True, kw_only=True)
class Shuffled(Control):
    """The values of another initializer, permuted within each tensor, shuffled:INIT."""

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `shuffled` for every slot that the other has a rule for."""
        rules = self.inner.rules(architecture, graph)
        return {name: rule if rule in DEFAULTS else SHUFFLED for name, rule in rules.items()}

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Permute each tensor with a generator of its own."""
        rules = self.inner.rules(architecture, graph)
        for name, tensor in self.inner.tensors(architecture, graph, seed=seed):
            if rules[name] in DEFAULTS:
                yield name, tensor
                continue
            order = torch.randperm(tensor.numel(), generator=slot_generator(seed, name, stream=SHUFFLED))
            yield name, tensor.flatten()[order].view(tensor.shape)
