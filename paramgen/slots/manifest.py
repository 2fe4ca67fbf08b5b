"""Every entry of a network's state dict, read on the meta device."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from paramgen.slots.init_program import InitProgram
from paramgen.slots.torch_internals import EXTRA_STATE_KEY, entries_of, unsaved_buffers

SlotKind = Literal["parameter", "buffer"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One entry of the state dict. `tied_to` names the slot whose tensor it shares; such a slot has no tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    kind: SlotKind
    owner: str  # path of the module that holds it; empty for the root
    owner_type: str  # that module's class, with its Python module
    tied_to: str | None = None
    program: InitProgram | None = field(
        default=None, repr=False
    )  # how the library's constructor fills it; None where that is not known

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@final
class Manifest(Mapping[str, Slot]):
    """Slots by name, in the state dict's order. Every tie points to a slot that has a tensor."""

    def __init__(
        self, slots: Iterator[Slot] | tuple[Slot, ...], unsaved: Mapping[str, InitProgram] | None = None
    ) -> None:
        self.unsaved: Mapping[str, InitProgram] = dict(unsaved or {})
        """What the library makes of the buffers that no state dict has: to run a network, they are needed too."""
        self._requested: tuple[Slot, ...] | None = None
        self._slots = {slot.name: slot for slot in slots}
        self._tied: dict[str, list[str]] = {}
        for slot in self._slots.values():
            if slot.tied_to is not None:
                self._tied.setdefault(slot.tied_to, []).append(slot.name)

    def __getitem__(self, name: str) -> Slot:
        return self._slots[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    def __repr__(self) -> str:
        return f"Manifest({len(self):,} slots, {self.parameters:,} parameters)"

    @property
    def filled(self) -> tuple[Slot, ...]:
        """The slots that need a tensor: all but the tied ones; or those of them that were requested."""
        if self._requested is not None:
            return self._requested
        return tuple(slot for slot in self._slots.values() if slot.tied_to is None)

    def only(self, names: Iterable[str]) -> "Manifest":
        """Return the same slots, of which those named are to be filled, in this order."""
        requested = self.whole()
        requested._requested = tuple(self._slots[name] for name in names)
        return requested

    def whole(self) -> "Manifest":
        """Return the same slots, of which all are to be filled."""
        return Manifest(tuple(self._slots.values()), self.unsaved)

    @property
    def parameters(self) -> int:
        """Number of elements in parameters, tied ones counted once."""
        return sum(slot.elements for slot in self.filled if slot.kind == "parameter")

    @property
    def elements(self) -> int:
        """Number of elements in all slots, tied ones counted once."""
        return sum(slot.elements for slot in self.filled)

    def names_of(self, name: str) -> tuple[str, ...]:
        """Return the slot's own name and the names tied to it."""
        return (name, *self._tied.get(name, ()))


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a module's state dict, not copied, without extra state, which only the module understands.

    It is not even asked for: to make it, a module may read values, which tensors on the meta device do not have.
    """
    if all(type(child).get_extra_state is nn.Module.get_extra_state for child in module.modules()):
        state: dict[str, Any] = module.state_dict(keep_vars=True)
        return {name: value for name, value in state.items() if isinstance(value, Tensor)}
    found: dict[str, Tensor] = {}
    for path, child in module.named_modules(remove_duplicate=False):
        parameters, buffers = entries_of(child)
        unsaved = unsaved_buffers(child)
        for key, tensor in (*parameters.items(), *((key, buffers[key]) for key in buffers if key not in unsaved)):
            if tensor is not None:
                found[f"{path}.{key}" if path else key] = tensor
    return found


def extra_state_of(module: nn.Module) -> dict[str, Callable[[], Any]]:
    """Return what makes each entry of extra state, by its name in the state dict.

    Left out is that of modules whose tensors hold nothing yet, on the meta device or without a shape.
    """
    return {
        f"{path}.{EXTRA_STATE_KEY}" if path else EXTRA_STATE_KEY: child.get_extra_state
        for path, child in module.named_modules(remove_duplicate=False)
        if type(child).get_extra_state is not nn.Module.get_extra_state
        and not any(tensor.is_meta or is_lazy(tensor) for tensor in (*child.parameters(), *child.buffers()))
    }


def read_manifest(
    module: nn.Module, programs: Mapping[str, InitProgram], *, ties: Mapping[str, str] | None = None
) -> Manifest:
    """Read the manifest of `module`.

    Where tensors are tied, the name that `ties` (name -> name whose tensor it shares) does not tie holds the tensor,
    or else the first in the state dict. `programs` may be under any of the names.
    """
    owners = dict(module.named_modules(remove_duplicate=False))
    first: dict[int, str] = {}
    known: dict[int, InitProgram] = {}
    state = state_of(module)
    for name, tensor in state.items():
        if name not in (ties or {}):
            first.setdefault(id(tensor), name)
        if name in programs:
            known[id(tensor)] = programs[name]
    slots = []
    for name, tensor in state.items():
        owner = name.rpartition(".")[0]
        tied_to = first.setdefault(id(tensor), name)
        slots.append(
            Slot(
                name=name,
                shape=tuple(tensor.shape),
                dtype=tensor.dtype,
                kind="parameter" if isinstance(tensor, nn.Parameter) else "buffer",
                owner=owner,
                owner_type=_qualified(type(owners[owner])) if owner in owners else "",
                tied_to=None if tied_to == name else tied_to,
                program=known.get(id(tensor)),
            )
        )
    return Manifest(tuple(slots), {name: program for name, program in programs.items() if name not in state})


def _qualified(owner: type) -> str:
    return f"{owner.__module__}.{owner.__qualname__}"
