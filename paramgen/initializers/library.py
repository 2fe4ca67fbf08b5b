"""What the library itself would draw, slot by slot, without building the network a second time."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import IncompleteStateError
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import Slot

LIBRARY, KEPT, PLAIN, ZERO = "library", "kept", "plain", "zero"
DEFAULTS = (LIBRARY, KEPT, PLAIN)  # the rules of what an initializer leaves alone
PLAIN_STD = 0.02  # of BERT's and GPT-2's embeddings and tables


@final
@initializers.register("library")
@dataclass(frozen=True, kw_only=True)
class Library(Initializer):
    """What the library itself would draw: its distributions, slot by slot, our seed."""

    fills_something: ClassVar[bool] = False

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Every slot is `library`; `kept` marks a live module's own value, `plain` a slot without a known draw."""
        return {slot.name: library_rule(slot) for slot in architecture.manifest.filled}

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Replay one draw after the other."""
        for slot in architecture.manifest.filled:
            yield slot.name, library_start(slot, seed)


def library_rule(slot: Slot) -> str:
    """Return the name of the rule by which `library_start` fills the slot."""
    if slot.program is None:
        return PLAIN
    return KEPT if slot.program.kept else LIBRARY


@torch.no_grad()
def library_start(slot: Slot, seed: int) -> Tensor:
    """Return what the library draws for the slot, of the slot's own dtype.

    A slot whose draw is not known is plain: normal of standard deviation 0.02 if it is a matrix or more, else zero.
    What a live module holds is `kept`: that is its default initialization, whatever the seed.
    """
    generator = slot_generator(seed, slot.name)
    if slot.program is None:
        values = torch.zeros(slot.shape, dtype=slot.dtype)
        matrix = (slot.dtype.is_floating_point or slot.dtype.is_complex) and len(slot.shape) > 1
        return values.normal_(0.0, PLAIN_STD, generator=generator) if matrix else values
    values = slot.program(generator)
    if tuple(values.shape) != slot.shape or values.dtype != slot.dtype:
        raise IncompleteStateError(
            f"The library's draw of {slot.name!r} has shape {tuple(values.shape)} and {values.dtype}; the slot has "
            f"{slot.shape} and {slot.dtype}. Report this with the architecture's name."
        )
    return values


def library_elsewhere(
    architecture: Architecture, covered: Mapping[str, str], zero: Iterable[str] = ()
) -> dict[str, str]:
    """Return the rule of every slot: those in `covered`, `zero` for the biases named, the library's for the rest."""
    rules = {slot.name: library_rule(slot) for slot in architecture.manifest.filled}
    return {**rules, **dict.fromkeys(zero, ZERO), **covered}


@torch.no_grad()
def start_by_rules(
    architecture: Architecture, rules: Mapping[str, str], make: Callable[[Slot], Tensor], *, seed: int
) -> NamedTensors:
    """Yield what `make` makes of each slot whose rule is neither `zero` nor the library's, and these for the rest."""
    for slot in architecture.manifest.filled:
        rule = rules[slot.name]
        if rule == ZERO:
            yield slot.name, torch.zeros(slot.shape, dtype=slot.dtype)
        elif rule in DEFAULTS:
            yield slot.name, library_start(slot, seed)
        else:
            yield slot.name, make(slot)
