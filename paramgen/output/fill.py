"""Carry a prediction out in memory: into a live module, or into one that its library builds."""

from collections import Counter
from typing import final

import torch
from torch import nn

from paramgen.architectures.lazy import with_shapes
from paramgen.architectures.memory import give_memory
from paramgen.architectures.recorder import built_on
from paramgen.errors import OptionError
from paramgen.initializers import Choice
from paramgen.initializers.library import KEPT
from paramgen.prediction import Prediction
from paramgen.slots.determinism import seeded_randomness
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import state_of
from paramgen.slots.torch_internals import change_tensors


@final
class Filled(dict[str, str]):
    """The rule of each slot of a module that was filled, and which initializer was chosen for it."""

    def __init__(self, prediction: Prediction) -> None:
        super().__init__(prediction.rules)
        self.choice: Choice | None = prediction.choice
        self._said = repr(prediction)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} by {rule}" for rule, count in Counter(self.values()).most_common())
        return f"Filled({counts}; {self._said})"


def created(prediction: Prediction, progress: bool | None = None) -> nn.Module:
    """Return the network itself, built by its library's constructor, filled, and in the mode that this leaves it in."""
    architecture = prediction.architecture
    if architecture.construct is None:
        raise OptionError(
            f"{architecture.spec} cannot be built here: a graph's JSON is no network, and a live module is there "
            "already: paramgen.initialize_(module). Type: --arch vit_b16, or file.py:factory"
        )
    with seeded_randomness():
        module = built_on(torch.device("cpu"), architecture.construct)
    if prediction.dtype is not None:
        _cast(module, prediction)
    fill(module, prediction, progress)
    return module


def _cast(module: nn.Module, prediction: Prediction) -> None:
    """Give the state dict's floating-point tensors their dtype, as loading a folder does: other buffers keep theirs."""
    dtype, layout = prediction.dtype, prediction.architecture.layout
    assert dtype is not None
    saved = state_of(module)
    unsaved = {id(buffer) for name, buffer in module.named_buffers() if name not in saved}

    def cast(tensor: torch.Tensor) -> torch.Tensor:  # `to` would cast complex tensors, too, and a library's own warns
        return tensor.to(dtype) if tensor.is_floating_point() and id(tensor) not in unsaved else tensor

    change_tensors(module, cast)
    if layout.dtype_key is not None and hasattr(module, "config"):
        module.config.dtype = dtype


@torch.no_grad()
def fill(module: nn.Module, prediction: Prediction, progress: bool | None = False) -> Filled:
    """Copy a prediction into a live module and return the rule of each slot. What is `kept` is not touched.

    Lazy layers get their shapes from the example input, and what is on the meta device gets memory.
    """
    manifest, rules = prediction.architecture.manifest, dict(prediction.rules)
    unsaved = {name: buffer for name, buffer in module.named_buffers() if name not in manifest and buffer.is_meta}
    if unknown := sorted(unsaved.keys() - manifest.unsaved.keys()):
        raise OptionError(
            f"What is in {unknown[0]!r}, which is on the meta device and in no state dict, only its constructor knows. "
            "Build the module on the CPU"
        )
    with_shapes(module, prediction.architecture.example)
    give_memory(module)
    state, buffers = state_of(module), dict(module.named_buffers())
    filled = prediction.only([slot.name for slot in manifest.filled if rules[slot.name] != KEPT])
    for name, tensor in filled.advancing(progress):
        state[name].detach().copy_(tensor)
    for name in unsaved:
        buffers[name].copy_(manifest.unsaved[name](slot_generator(prediction.seed, name)))
    return Filled(prediction)
