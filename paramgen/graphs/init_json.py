"""Init programs as JSON. Only operations that make, fill or reshape tensors are read; `init_limits` bounds them."""

import base64
import binascii
import cmath
import math
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from paramgen.errors import GraphError, OutputError
from paramgen.graphs.init_limits import MAX_SIDES, MAX_SLOT_STEPS, PROGRAM_DTYPES, check_step, known_packet
from paramgen.slots.init_program import InitProgram, InitStep, Register

MAX_CONSTANT_BYTES: Final = 4_000_000


def program_to_json(program: InitProgram, name: str) -> dict[str, Any]:
    """Return an init program as JSON values, constants included.

    Raises:
        OutputError: It holds an operation or a value that a graph cannot carry.
    """
    steps = [
        [
            step.operator,
            [_encode(value, name) for value in step.arguments],
            {key: _encode(value, name) for key, value in step.keywords.items()},
            list(step.results),
        ]
        for step in program.steps
    ]
    for step in program.steps:
        if not known_packet(step.operator):
            raise OutputError(
                f"The init program of slot {name!r} has the tensor operation {step.operator!r}, which a graph "
                "cannot carry. "
                "Predict from the architecture itself."
            )
    return {
        "steps": steps,
        "result": program.result,
        "size": list(program.size),
        "stride": list(program.stride),
        "offset": program.offset,
    }


def program_from_json(data: Any, name: str) -> InitProgram:
    """Return the init program of JSON values; `check_program` must pass before it is run.

    Raises:
        GraphError: It is no list of steps, or has an operation that is not known.
    """
    steps = data["steps"]
    if not isinstance(steps, list) or len(steps) > MAX_SLOT_STEPS:
        raise GraphError(f"The init program of slot {name!r} is no list of at most {MAX_SLOT_STEPS:,} steps.")
    read = []
    for operator, arguments, keywords, results in steps:
        read.append(
            InitStep(
                str(operator),
                tuple(_decode(value) for value in arguments),
                {str(key): _decode(value) for key, value in keywords.items()},
                tuple(None if register is None else int(register) for register in results),
            )
        )
        try:
            check_step(read[-1])
        except GraphError as error:
            raise GraphError(f"The init program of slot {name!r} cannot be run: {error.message}.") from error
    size, stride = tuple(int(n) for n in data["size"]), tuple(int(n) for n in data["stride"])
    return InitProgram(tuple(read), int(data["result"]), size, stride, int(data["offset"]))


def _encode(value: Any, name: str) -> Any:
    if isinstance(value, Register):
        return {"register": value.index}
    if isinstance(value, Tensor):
        return _encode_tensor(value, name)
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.memory_format):
        return {"memory_format": str(value).removeprefix("torch.")}
    if isinstance(value, tuple):
        return [_encode(item, name) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, complex) and cmath.isfinite(value):
        return {"complex": [value.real, value.imag]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise OutputError(f"The init program of slot {name!r} holds a {type(value).__name__}, which a graph cannot carry.")


def _encode_tensor(value: Tensor, name: str) -> dict[str, Any]:
    if value.nbytes > MAX_CONSTANT_BYTES:
        raise OutputError(
            f"The init program of slot {name!r} holds a constant of {value.nbytes:,} bytes; a graph carries at most "
            f"{MAX_CONSTANT_BYTES:,}. Predict from the architecture itself."
        )
    content = value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return {
        "tensor": base64.b64encode(content).decode(),
        "dtype": str(value.dtype).removeprefix("torch."),
        "shape": list(value.shape),
    }


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    if "register" in value:
        return Register(int(value["register"]))
    if "float" in value:
        return float(value["float"])
    if "complex" in value:
        return complex(*(float(part) for part in value["complex"]))
    if "tensor" in value:
        return _decode_tensor(value)
    for key, kind in (("dtype", torch.dtype), ("memory_format", torch.memory_format)):
        if key in value:
            found = getattr(torch, str(value[key]), None)
            if isinstance(found, kind) and (kind is torch.memory_format or value[key] in PROGRAM_DTYPES):
                return found
    raise GraphError(f"An init program holds the unknown value {sorted(value)!r}.")


def _decode_tensor(value: dict[str, Any]) -> Tensor:
    text, shape = value["tensor"], tuple(int(size) for size in value["shape"])
    dtype = _decode({"dtype": value["dtype"]})
    if len(text) > 2 * MAX_CONSTANT_BYTES or len(shape) > MAX_SIDES:
        raise GraphError(
            f"An init program's constant is larger than {MAX_CONSTANT_BYTES:,} bytes, or has more than "
            f"{MAX_SIDES} dimensions."
        )
    try:
        content = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
        return torch.from_numpy(content.copy()).view(dtype).reshape(shape)
    except (binascii.Error, RuntimeError, ValueError) as error:
        raise GraphError(f"An init program's constant of shape {shape} does not hold its bytes: {error}.") from error
