"""The init programs of modules' own reset functions, for a live module whose constructor cannot be run again.

They need not be the module's default initialization: its constructor may have overwritten what its layers filled. So
they serve only where there are no values to keep, or where values cannot be carried.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from torch import Tensor, nn

from paramgen.architectures import Architecture
from paramgen.architectures.memory import meta_copy
from paramgen.architectures.recorder import record
from paramgen.architectures.transformers_internals import let_initialize_again
from paramgen.slots.init_program import InitProgram, constant, full
from paramgen.slots.manifest import Slot

_RESETS: Final = ("reset_parameters", "_reset_parameters", "init_weights", "initialize_weights")
_FEW: Final = 4096  # elements of a value that a graph may carry


def without_values(architecture: Architecture) -> Iterator[Slot]:
    """Yield the slots as a graph can carry them: a value that a live module holds stays, unless it is a plain one.

    Other values are replaced by the init program of the modules' own reset functions, if they have one.
    """
    resets: Mapping[str, InitProgram] | None = None
    for slot in architecture.manifest.values():
        if slot.program is None or not slot.program.kept or slot.tied_to is not None:
            yield slot
            continue
        value = slot.program.value
        if (plain := _plain(value, slot.program)) is not None:
            yield replace(slot, program=plain)
            continue
        if resets is None:
            module = architecture.module
            resets = {} if module is None else record(lambda: reset(meta_copy(module)))[1]  # noqa: B023 - called at once
        names = architecture.manifest.names_of(slot.name)
        yield replace(slot, program=next((resets[name] for name in names if name in resets), slot.program))


def _plain(value: Tensor, program: InitProgram) -> InitProgram | None:
    if value.numel() and bool((value == value.reshape(-1)[0]).all()):
        return full(value.reshape(-1)[0], tuple(value.shape))
    return constant(value.detach().clone()) if value.numel() <= _FEW and not program.random else None


def reset(module: nn.Module) -> nn.Module:
    """Call every reset function of the module, children first: what its constructor did is not known."""
    weights = getattr(module, "initialize_weights", None)
    if weights is not None and any(base.__module__.startswith("transformers.") for base in type(module).__mro__):
        for part in module.modules():  # which transformers marks once they are initialized, and then skips
            let_initialize_again(part)
        weights()
        return module
    for child in module.children():
        reset(child)
    for name in _RESETS:
        own = getattr(module, name, None)
        if callable(own):
            try:
                own()
            except Exception:  # noqa: S112 - a reset that needs arguments or real values leaves its slots as they are
                continue
            break
    return module
