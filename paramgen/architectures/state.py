"""Load the safetensors files of a folder into a module, tensor by tensor, strictly."""

from pathlib import Path

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from paramgen.architectures import LoadedModel
from paramgen.architectures.lazy import shaped
from paramgen.errors import CheckError
from paramgen.slots.manifest import state_of
from paramgen.storage.reading import stored


@torch.no_grad()
def load_state(module: nn.Module, folder: Path) -> LoadedModel:
    """Copy every stored tensor into `module`, and name what does not fit.

    Raises:
        CheckError: A stored tensor cannot be put into the module.
    """
    state = state_of(module)
    owners = dict(module.named_modules(remove_duplicate=False))
    shared = {id(tensor) for tensor in state.values()}
    unexpected, mismatched = [], []
    for entry in stored(folder):
        target = state.get(entry.name)
        if target is None:
            unexpected.append(entry.name)
            continue
        if is_lazy(target):
            shaped(owners[entry.name.rpartition(".")[0]], target, entry.shape)
        if tuple(target.shape) != entry.shape:
            mismatched.append(entry.name)
        elif target.requires_grad and not (entry.dtype.is_floating_point or entry.dtype.is_complex):
            raise CheckError(
                f"Tensor {entry.name!r} in {entry.file} is {entry.dtype}, which cannot be trained as the module's is. "
                "Get the file again."
            )
        else:
            value = torch.empty(entry.shape, device="meta") if target.is_meta else entry.tensor()
            target.data = value.to(target.device, entry.dtype)
            shared.discard(id(target))
    missing = tuple(name for name, tensor in state.items() if id(tensor) in shared and name not in mismatched)
    return LoadedModel(module=module, missing=missing, unexpected=tuple(unexpected), mismatched=tuple(mismatched))
