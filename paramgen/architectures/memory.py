"""A module's tensors on the meta device and back: copies without values, and memory for what has none."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy

from paramgen.errors import ArchitectureError, one_line
from paramgen.slots.torch_internals import drop_forward_hooks, entries_of


def meta_copy(module: nn.Module) -> nn.Module:
    """Return a deep copy of `module` whose parameters and buffers are on the meta device.

    Raises:
        ArchitectureError: The module cannot be copied.
    """
    try:
        memo: dict[int, Any] = {id(t): meta_twin(t) for t in (*module.parameters(), *module.buffers())}
        twin = copy.deepcopy(module, memo)
    except Exception as error:  # any attribute of a user's module may refuse
        raise ArchitectureError(
            f"{type(module).__name__} cannot be copied to the meta device: {one_line(error)} Give a file.py:factory "
            "instead."
        ) from error
    for child in twin.modules():
        drop_forward_hooks(child)  # they keep what passes by; weights are made in pre-hooks, which stay
    return twin


def own_copy(module: nn.Module) -> nn.Module:
    """Return a deep copy of `module`, whose layers may be lazy: torch copies no buffer without a shape."""
    lazy = (tensor for tensor in (*module.parameters(), *module.buffers()) if is_lazy(tensor))
    return copy.deepcopy(module, {id(tensor): _twin(tensor, tensor.device) for tensor in lazy})


def meta_twin(tensor: Tensor) -> Tensor:
    """Return a tensor or parameter like `tensor` on the meta device."""
    return _twin(tensor, torch.device("meta"))


def on_meta(module: nn.Module) -> None:
    """Put the parameters and buffers that hold values on the meta device; tied ones stay tied."""
    real = (tensor for tensor in (*module.parameters(), *module.buffers()) if is_lazy(tensor) or not tensor.is_meta)
    exchange(module, {id(tensor): meta_twin(tensor) for tensor in real})


def give_memory(module: nn.Module) -> None:
    """Give what is on the meta device memory: where the module's other tensors are, or on the CPU; ties stay."""
    held = (*module.parameters(), *module.buffers())
    device = next((tensor.device for tensor in held if not tensor.is_meta), torch.device("cpu"))
    exchange(module, {id(tensor): _twin(tensor, device) for tensor in held if tensor.is_meta})


def exchange(module: nn.Module, twins: Mapping[int, Any]) -> None:
    """Put each of `twins` in the place of the parameter or buffer with this id."""
    for child in module.modules() if twins else ():
        for entries in entries_of(child):
            entries.update({name: twins.get(id(tensor), tensor) for name, tensor in entries.items()})


def _twin(tensor: Tensor, device: torch.device) -> Tensor:
    if is_lazy(tensor):
        options: dict[str, Any] = {"device": device, "dtype": tensor.data.dtype, "requires_grad": tensor.requires_grad}
        return UninitializedParameter(**options) if isinstance(tensor, nn.Parameter) else UninitializedBuffer(**options)
    twin: Tensor = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
    return nn.Parameter(twin, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else twin
