"""The parts of torch that it does not document, each behind a name of ours: a new version of torch is tried here first.

All were tried with torch 2.13.0, which is the oldest supported version and the one that we work with.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest import mock

import torch
import torch.utils._device
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorDeviceMismatchError,
    FakeTensorMode,
)
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.module import _EXTRA_STATE_KEY_SUFFIX
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_leaves, tree_map

__all__ = [
    "DataDependentOutputException",  # what a forward pass that reads the values of fake tensors ends with
    "DynamicOutputShapeException",  # what a forward pass whose shapes follow from values ends with
    "FakeTensorDeviceMismatchError",  # what fake tensors of two devices in one operation end with
    "FakeTensorMode",  # inside it, tensors have shapes and types, but no values
    "TorchDispatchMode",  # inside it, every operation on tensors goes through a method of ours
    "tree_iter",  # yields the leaves of nested lists, tuples and dictionaries
    "tree_leaves",  # lists them
    "tree_map",  # changes each of them
]

DeviceContext = torch.utils._device.DeviceContext
"""What `with torch.device(...)` enters: it gives every function that makes tensors the device."""

BatchNorm = _BatchNorm
"""The base of batch normalization in any number of dimensions, also of its lazy and synchronized kinds."""

Convolution = _ConvNd
"""The base of convolutions in any number of dimensions, transposed and lazy ones included."""

InstanceNorm = _InstanceNorm
"""The base of instance normalization in any number of dimensions."""

EXTRA_STATE_KEY: Final = _EXTRA_STATE_KEY_SUFFIX
"""The last part of the name under which a state dict holds what `get_extra_state` returns."""

FAKE_TENSOR_LOGGER: Final = "torch._subclasses.fake_tensor"
"""The name of the logger that prints a traceback before fake tensors raise."""

multiply_all: Final = torch._foreach_mul
"""Multiplies each tensor of a list by one number, in one call."""

add_to_all: Final = torch._foreach_add_
"""Adds to each tensor of a list, in place, the one of another list times a number, in one call."""

without_torch_function: Final = torch._C.DisableTorchFunctionSubclass
"""Inside it, a subclass of a tensor, such as a lazy parameter, is treated as a plain tensor."""


def entries_of(module: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the module's own dictionaries of parameters and of buffers, without those of its children, to be changed.

    `register_parameter` and `setattr` would refuse tensors that are no parameters, and would not keep their order.
    """
    return module._parameters, module._buffers


def unsaved_buffers(module: nn.Module) -> set[str]:
    """Return the names of the module's own buffers that its state dict leaves out."""
    return module._non_persistent_buffers_set


def drop_forward_hooks(module: nn.Module) -> None:
    """Remove the module's forward hooks, whose handles only those have who registered them."""
    module._forward_hooks.clear()


def change_tensors(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    """Replace every parameter and buffer in place by what `change` makes of it, as `module.to` does."""
    module._apply(change)


def infer_shapes(layer: Any, args: Any, kwargs: Any) -> None:
    """Give a lazy layer the shapes that follow from its input, as its first forward pass would, without running it."""
    layer._infer_parameters(layer, args, kwargs)


def storage_key(storage: torch.UntypedStorage) -> int:
    """Return a number that no other living storage has; on the meta device, too, where no storage has an address."""
    return int(storage._cdata)


def is_operator(found: Any) -> bool:
    """Whether this is one overload of an operator, such as `torch.ops.aten.add.Tensor`."""
    return isinstance(found, torch._ops.OpOverload)


def schema_of(operator: Any) -> Any:
    """Return an operator's schema: its arguments, which of them it writes to, and what it returns."""
    return operator._schema


def overload_name(operator: Any) -> str:
    """Return which overload of its name an operator is, `default` where it has no other."""
    return str(operator._overloadname)


def name_of(operator: Any) -> str:
    """Return the name of an operator of `torch.ops.aten` and which overload it is: `add.Tensor`."""
    return f"{operator.overloadpacket.__name__}.{overload_name(operator)}"


def saved_kernel_size(function: Any) -> Any:
    """Return the kernel size that an autograd node keeps for its backward pass; None if it keeps none."""
    return getattr(function, "_saved_kernel_size", None)


@contextmanager
def default_device_kept() -> Iterator[None]:
    """Put back what modes of torch note for the whole process: the default device, and which literals leave the CPU."""
    device, lifted = torch.utils._device.CURRENT_DEVICE, torch._C._only_lift_cpu_tensors()
    try:
        yield
    finally:
        torch.utils._device.CURRENT_DEVICE = device
        torch._C._set_only_lift_cpu_tensors(lifted)


def truncated_normals_by(fill: Callable[..., Tensor]) -> Any:
    """Return a context in which `nn.init.trunc_normal_` fills a tensor by a function of ours."""
    return mock.patch.object(nn.init, "_no_grad_trunc_normal_", fill)
