"""Keep a forward pass that asks for an accelerator on the device on which it is traced."""

from typing import Any, Final

import torch
from torch import Tensor

_MOVES: Final = frozenset(("cuda", "xpu", "npu", "hpu", "mtia"))  # methods of tensors
_ACCELERATORS: Final = _MOVES | {"mps", "hip"}


def moved(name: str, args: tuple[Any, ...]) -> Tensor | None:
    """Return the tensor that a method such as `Tensor.cuda` moves, else None."""
    return args[0] if name in _MOVES and args and isinstance(args[0], Tensor) else None


def redirected(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], device: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a function with `device` in the place of every accelerator."""
    if "device" in kwargs and _accelerates(kwargs["device"]):
        kwargs = {**kwargs, "device": device}
    if name == "to" and len(args) > 1 and _accelerates(args[1]):
        args = (args[0], device, *args[2:])
    return args, kwargs


def _accelerates(given: Any) -> bool:
    if isinstance(given, torch.device):
        return given.type in _ACCELERATORS
    if isinstance(given, str):
        return given.partition(":")[0] in _ACCELERATORS
    return type(given) is int  # the number of one
