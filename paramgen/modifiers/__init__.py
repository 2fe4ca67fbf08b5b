"""Modifiers: changes of the weights that any initializer makes, such as low rank, behind one abstract class.

A modifier changes the weights of linear layers and convolutions, one after the other. Biases, norms, tables and what a
library fills with constants, such as zero convolutions, stay as they are.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.errors import OptionError, UnknownNameError
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.modifiers.constraints import Constraint
from paramgen.modifiers.masking.criteria import WholeNetwork
from paramgen.registry import Registry, Spec
from paramgen.registry.overrides import split_spec
from paramgen.slots.init_program import one_thread, slot_generator
from paramgen.slots.manifest import Slot

Weights = Float[Tensor, "groups out in *kernel"]

ZEROS, FROZEN, SHARED_NUMBERS = "zeros", "frozen weights", "shared numbers"
"""The structures that a network is trained under, in the words of messages."""


class Modifier(ABC):
    """What changes weights that an initializer made: a frozen dataclass whose fields are its options.

    One that looks at one weight after the other is a `SlotModifier`, one that needs all of them a `NetworkModifier`.
    """

    __slots__ = ()

    runs_network: ClassVar[bool] = False  # whether it runs the network; whether it does, an option may decide
    structure: ClassVar[str] = ""  # what it gives weights, in a few words, where that is more than other values
    applies_to: ClassVar[str] = "weights of linear layers and convolutions"

    @abstractmethod
    def changes(self, linear_map: LinearMap) -> bool:
        """Whether it changes a weight of this shape and position."""

    def undoes(self, structure: str) -> bool:
        """Whether the structure that an earlier modifier made is not there any more behind this one."""
        return structure != self.structure

    def hindrance(self) -> str:
        """Return why it changes no weight of a network, where that is so, and what to type."""
        return "it has no linear layer or convolution"


class SlotModifier(Modifier):
    """A modifier that changes one weight after the other."""

    __slots__ = ()

    @abstractmethod
    def change(self, linear_map: LinearMap, weights: Weights, generator: torch.Generator) -> Weights:
        """Return the changed matrices of one weight, which are not all zero; `weights` stay as they are."""

    @torch.no_grad()
    def changed(self, slot: Slot, linear_map: LinearMap, tensor: Tensor, *, seed: int, stream: str) -> Tensor:
        """Return the changed tensor of one slot; zeros stay zeros.

        The same tensor, seed and stream give the same bytes on any number of threads.
        """
        if not bool(tensor.any()):
            return tensor
        with one_thread():
            weights = linear_map.matrices(tensor).float().contiguous()
            changed = self.change(linear_map, weights, slot_generator(seed, slot.name, stream=stream))
            return linear_map.stored(changed, slot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constrained:
    """What a `NetworkModifier` made: all tensors by slot, and what is to hold of some of them in training."""

    tensors: Mapping[str, Tensor]
    constraint: Constraint


class NetworkModifier(Modifier):
    """A modifier that looks at all weights together, which are then in memory, and constrains their training."""

    __slots__ = ()

    @abstractmethod
    def change_together(self, network: WholeNetwork) -> Constrained:
        """Return the changed tensors of a network, which stay as they are, and the constraint."""


modifiers: Registry[Modifier] = Registry("modifier", "paramgen.modifiers")


def modifier_of(spec: str) -> Modifier:
    """Return the modifier that `kind`, `kind:argument` or `kind:argument?option=value&option=value` names.

    >>> modifier_of("lowrank?rank=8")
    RankLimit(rank=8, norm='frobenius', draw=False)

    Raises:
        UnknownNameError: There is no such modifier, or it has no such option.
        OptionError: An option's value is not allowed.

    """
    name, _, options = spec.partition("?")
    parsed = Spec.parse(name)
    kind = modifiers.get(parsed.kind)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # registered are dataclasses
    if parsed.argument:
        if not known:
            raise OptionError(f"The modifier {parsed.kind!r} takes no argument. Type: --then {parsed.kind}")
        options = f"{known[0]}={parsed.argument}" + (f"&{options}" if options else "")
    given = split_spec(f"?{options}")[1]
    for option in given:
        if option not in known:
            raise UnknownNameError.of(f"option of the modifier {parsed.kind!r}", option, known)
    return kind(**given)
