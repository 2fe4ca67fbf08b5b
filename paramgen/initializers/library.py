"""The default initialization: what the library itself draws, slot by slot, without building the network again."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
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
    """What the library itself would draw: its distributions, slot by slot, from the given seed."""

    group: ClassVar[str] = "default"
    fills_something: ClassVar[bool] = False

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `library`; `kept` for a live module's own value, `plain` for a slot without an init program."""
        return {slot.name: library_rule(slot) for slot in architecture.manifest.filled}

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Run one init program after the other."""
        for slot in architecture.manifest.filled:
            yield slot.name, default_weights(slot, seed)

    def values(self, architecture: Architecture, graph: Graph, *, seed: int) -> Callable[[Slot], Tensor]:
        """Return the function that computes one slot, whichever is needed next."""
        return partial(default_weights, seed=seed)


def library_rule(slot: Slot) -> str:
    """Return the name of the rule by which `default_weights` fills a slot."""
    if slot.program is None:
        return PLAIN
    return KEPT if slot.program.kept else LIBRARY


@torch.no_grad()
def default_weights(slot: Slot, seed: int) -> Tensor:
    """Return the default initialization of a slot, in the slot's own dtype.

    A slot without an init program is plain: normal with std 0.02 if it has two or more dimensions, else zero. What a
    live module holds is `kept`: that is its default initialization, whatever the seed.

    Raises:
        IncompleteStateError: The init program makes another shape or dtype than the slot's.

    """
    generator = slot_generator(seed, slot.name)
    if slot.program is None:
        values = torch.zeros(slot.shape, dtype=slot.dtype)
        matrix = (slot.dtype.is_floating_point or slot.dtype.is_complex) and len(slot.shape) > 1
        return values.normal_(0.0, PLAIN_STD, generator=generator) if matrix else values
    values = slot.program(generator)
    if tuple(values.shape) != slot.shape or values.dtype != slot.dtype:
        raise IncompleteStateError(
            f"The init program of {slot.name!r} makes shape {tuple(values.shape)} and {values.dtype}; the slot has "
            f"{slot.shape} and {slot.dtype}. Report this with the architecture's name."
        )
    return values


def complete_rules(architecture: Architecture, covered: Mapping[str, str], zero: Iterable[str] = ()) -> dict[str, str]:
    """Return the rule of every slot: those in `covered`, `zero` for the slots in `zero`, the library's for the rest."""
    rules = {slot.name: library_rule(slot) for slot in architecture.manifest.filled}
    return {**rules, **dict.fromkeys(zero, ZERO), **covered}


def fill_by_rules(
    architecture: Architecture, rules: Mapping[str, str], make: Callable[[Slot], Tensor], *, seed: int
) -> NamedTensors:
    """Yield every slot by its rule: zeros for `zero`, default weights for the library's, else what `make` returns."""
    for slot in architecture.manifest.filled:
        with torch.no_grad():  # a decorated generator would hold what it yielded until the next is made
            values = by_rule(slot, rules[slot.name], make, seed=seed)
        yield slot.name, values
        del values


def by_rule(slot: Slot, rule: str, make: Callable[[Slot], Tensor], *, seed: int) -> Tensor:
    """Return one slot's values: zeros for `zero`, default weights for the library's rules, else what `make` returns."""
    if rule == ZERO:
        return torch.zeros(slot.shape, dtype=slot.dtype)
    return default_weights(slot, seed) if rule in DEFAULTS else make(slot)
