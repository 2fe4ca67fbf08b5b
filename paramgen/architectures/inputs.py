"""Example inputs: shapes typed on a command line, functions in a file, or a guess from a module's first layer."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from paramgen.architectures import Inputs
from paramgen.architectures.config_limits import MAX_IMAGE_SIZE
from paramgen.architectures.user_code import UserCode, find_code, is_code
from paramgen.errors import OptionError, one_line

MAX_INPUT_ELEMENTS = 10**9
_SHAPE = re.compile(r"\d+(?:[x,]\d+)*(?::(?:float|long))?")


def image(channels: int, size: Any, what: str) -> Tensor:
    """Return two images of `size`, a number or (height, width), on the meta device.

    Raises:
        OptionError: The size is out of bounds.
    """
    height, width = size if isinstance(size, (tuple, list)) and len(size) == 2 else (size, size)
    if not all(type(edge) is int and 0 < edge <= MAX_IMAGE_SIZE for edge in (height, width)):
        raise OptionError(
            f"{what} has the image size {one_line(size)}; allowed are 1 to {MAX_IMAGE_SIZE:,}, or [height, width]. "
            "Type: --set image_size=224"
        )
    return torch.zeros(2, channels, height, width, device="meta")


def parse_example_input(text: str) -> Inputs:
    """Read `2x3x32x32` (several tensors apart by spaces, `:long` for indices) or `file.py:function`.

    Raises:
        OptionError: The text is neither a shape nor a function.
    """
    if is_code(text):
        path, _, name = text.rpartition(":")
        code = find_code(path) if path else None
        function = getattr(code.load(), name, None) if code is not None else None
        if code is None or not callable(function):
            raise OptionError(f"{text!r} names no function. Allowed: file.py:function or a shape such as 2x3x32x32.")
        code.hold()  # the network is often in the same file
        return as_inputs(made(code, function))
    tensors = []
    for word in text.split():
        if not _SHAPE.fullmatch(word):
            raise OptionError(f"{word!r} is no shape. Allowed: 2x3x32x32, 2x16:long, or file.py:function.")
        sizes, _, kind = word.partition(":")
        shape = tuple(int(size) for size in re.split("[x,]", sizes))
        if torch.Size(shape).numel() > MAX_INPUT_ELEMENTS:
            raise OptionError(f"{word!r} has more than {MAX_INPUT_ELEMENTS:,} elements; give a smaller example input.")
        tensors.append(torch.zeros(shape, dtype=torch.long if kind == "long" else torch.float32, device="meta"))
    return tuple(tensors), {}


def made(code: UserCode, function: Callable[[], Any]) -> Any:
    """Return what a user's own function makes as an example input.

    Raises:
        OptionError: The function fails.
    """
    try:
        with code.running():
            return function()
    except (Exception, SystemExit) as error:  # it may raise anything
        raise OptionError(f"The example input of {code.shown} cannot be made: {code.reason(error)}.") from error


def typed(inputs: Inputs) -> str:
    """Return inputs as `parse_example_input` reads them; empty where they cannot be typed."""
    given, named = inputs
    kinds = {torch.float32: "", torch.long: ":long"}
    if named or not all(isinstance(each, Tensor) and each.dtype in kinds and each.dim() for each in given):
        return ""
    return " ".join("x".join(map(str, each.shape)) + kinds[each.dtype] for each in given)


def as_inputs(value: Any) -> Inputs:
    """Read a tensor, a tuple of arguments, a dict of keyword arguments, or a pair of both."""
    if isinstance(value, dict):
        return (), value
    if isinstance(value, (tuple, list)):
        if len(value) == 2 and isinstance(value[0], (tuple, list)) and isinstance(value[1], dict):
            return tuple(value[0]), value[1]
        return tuple(value), {}
    return (value,), {}


def guess_inputs(module: nn.Module) -> Inputs | None:
    """Guess from the first layer that has parameters what the module takes, or return None."""
    for child in module.modules():
        if isinstance(child, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            size = {nn.Conv1d: 64, nn.Conv2d: 64, nn.Conv3d: 16}
            spatial = next(edge for kind, edge in size.items() if isinstance(child, kind))
            return (_floats(2, child.in_channels, *(spatial,) * len(child.kernel_size)),), {}
        if isinstance(child, nn.Linear):
            return (_floats(2, child.in_features),), {}
        if isinstance(child, nn.Embedding):
            return (torch.zeros(2, 16, dtype=torch.long, device="meta"),), {}
        if isinstance(child, nn.RNNBase):
            return (_floats(2, 16, child.input_size),), {}
        if next(child.parameters(recurse=False), None) is not None and next(child.children(), None) is None:
            return None
    return None


def _floats(*shape: int) -> Tensor:
    return torch.zeros(shape, device="meta")
