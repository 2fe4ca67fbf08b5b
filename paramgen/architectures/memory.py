"""A module's tensors on the meta device and back: copies without values, and memory for what has none."""

import copy
from collections.abc import Iterator, Mapping
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
        held = (*module.parameters(), *module.buffers(), *_computed(module))
        memo: dict[int, Any] = {id(tensor): meta_twin(tensor) for tensor in held}
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
    """Return a deep copy of `module`; torch itself copies neither a buffer without a shape nor what has a gradient."""
    lazy = (tensor for tensor in (*module.parameters(), *module.buffers()) if is_lazy(tensor))
    memo: dict[int, Any] = {id(tensor): _twin(tensor, tensor.device) for tensor in lazy}
    memo |= {id(tensor): tensor.detach().clone() for tensor in _computed(module)}
    return copy.deepcopy(module, memo)


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


def _computed(module: nn.Module) -> Iterator[Tensor]:
    """Yield the attributes that were computed from parameters, as `torch.nn.utils.weight_norm` leaves a `weight`."""
    attributes = (value for child in module.modules() for value in vars(child).values())
    return (value for value in attributes if isinstance(value, Tensor) and not value.is_leaf)


def _twin(tensor: Tensor, device: torch.device) -> Tensor:
    if is_lazy(tensor):
        options: dict[str, Any] = {"device": device, "dtype": tensor.data.dtype, "requires_grad": tensor.requires_grad}
        return UninitializedParameter(**options) if isinstance(tensor, nn.Parameter) else UninitializedBuffer(**options)
    twin: Tensor = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
    return nn.Parameter(twin, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else twin
