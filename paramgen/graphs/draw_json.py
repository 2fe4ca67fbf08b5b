"""Draws as JSON. Only operations that make, fill or reshape small tensors are read; each is tried dry first."""

import base64
import binascii
import cmath
import math
from collections.abc import Mapping
from math import prod
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from paramgen.draws import Draw, Register, Step, operator_of, registers_of
from paramgen.errors import GraphError, OutputError
from paramgen.manifest import Slot

MAX_STEPS: Final = 10_000
MAX_CONSTANT_BYTES: Final = 4_000_000
SLACK: Final = 10**7
"""A draw's intermediate values have at most 16 times its slot's elements, or this many."""
MOST_PASSES: Final = 20
"""All steps of a draw together compute at most this many times that."""

_PACKETS: Final = frozenset(
    (
        "_to_copy _unsafe_view abs add add_ alias all amax amin any arange argsort as_strided bernoulli_ "
        "bitwise_and cat ceil clamp clamp_ clamp_max clamp_max_ clamp_min clamp_min_ clone constant_pad_nd "
        "copy copy_ cos cumsum detach diag diagonal diagonal_copy div div_ empty empty_like empty_strided eq "
        "erf erfinv erfinv_ exp exp_ expand expm1 exponential_ eye fill fill_ flip floor floor_divide full full_like "
        "ge gt index index_put index_put_ index_select le lift lift_fresh lift_fresh_copy linalg_qr linspace log "
        "log_ log1p log2 logical_and logical_not logspace lt masked_fill masked_fill_ maximum mean minimum "
        "mul mul_ ne neg neg_ new_empty new_empty_strided new_full new_ones new_zeros normal_ ones ones_like "
        "permute pow prod rand rand_like randint randn randn_like random_ randperm reciprocal remainder "
        "repeat reshape roll round rsqrt rsub scatter_ select sigmoid sign sin slice softplus split sqrt "
        "sqrt_ squeeze stack std sub sub_ sum t tan tanh transpose tril tril_ triu triu_ true_divide unbind "
        "uniform_ unsqueeze var view where zero_ zeros zeros_like "
        "_conj angle complex conj_physical imag polar real view_as_complex view_as_real "
    ).split()
)

_REPLACED: Final = frozenset(("device", "pin_memory", "layout", "generator", "out"))


def draw_to_json(draw: Draw, name: str) -> dict[str, Any]:
    """Write a draw; constants in it are written out."""
    steps = [
        [
            step.operator,
            [_encode(value, name) for value in step.arguments],
            {key: _encode(value, name) for key, value in step.keywords.items()},
            list(step.results),
        ]
        for step in draw.steps
    ]
    for step in draw.steps:
        if step.operator.partition(".")[0] not in _PACKETS:
            raise OutputError(
                f"Slot {name!r} starts from the tensor operation {step.operator!r}, which a graph cannot carry. "
                "Predict from the architecture itself."
            )
    return {
        "steps": steps,
        "result": draw.result,
        "size": list(draw.size),
        "stride": list(draw.stride),
        "offset": draw.offset,
    }


def draw_from_json(data: Any, name: str) -> Draw:
    """Read a draw of known operations. `check_draw` must pass before it is run."""
    steps = data["steps"]
    if not isinstance(steps, list) or len(steps) > MAX_STEPS:
        raise GraphError(f"The draw of slot {name!r} is no list of at most {MAX_STEPS:,} steps.")
    read = []
    for operator, arguments, keywords, results in steps:
        if not _REPLACED.isdisjoint(keywords):
            raise GraphError(f"The draw of slot {name!r} sets {sorted(_REPLACED & set(keywords))}, which we decide.")
        if str(operator).partition(".")[0] not in _PACKETS:
            raise GraphError(f"The draw of slot {name!r} uses the unknown tensor operation {operator!r}.")
        read.append(
            Step(
                str(operator),
                tuple(_decode(value) for value in arguments),
                {str(key): _decode(value) for key, value in keywords.items()},
                tuple(None if register is None else int(register) for register in results),
            )
        )
        operator_of(read[-1])
    size, stride = tuple(int(n) for n in data["size"]), tuple(int(n) for n in data["stride"])
    return Draw(tuple(read), int(data["result"]), size, stride, int(data["offset"]))


def check_draw(draw: Draw, slot: Slot) -> int:
    """Run the draw without values; refuse what is too large, out of bounds or not the slot's shape and dtype.

    Returns:
        How many elements the draw computes beyond those that any draw of such a slot may.
    """
    limit = max(16 * slot.elements, SLACK)
    work, base = 0, None
    for step in draw.steps:
        _refuse_large_sizes(step, limit)
    try:
        replay = draw.replay(torch.device("meta"), None)
        registers: dict[int, Tensor] = {}
        for step in draw.steps:
            _refuse_many_parts(step, registers)
            _, registers = next(replay)
            storages = {
                tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in registers.values()
            }
            if max(storages.values(), default=0) > 16 * limit or sum(storages.values()) > 32 * limit:
                raise GraphError(f"it makes tensors of more than {limit:,} elements")
            work += _work(step, registers)
            if work > MOST_PASSES * limit:
                raise GraphError(f"it goes over more than {MOST_PASSES * limit:,} elements")
            base = registers.get(draw.result, base)
    except GraphError as error:
        raise GraphError(f"The draw of slot {slot.name!r} cannot be run: {error.message}.") from error
    if base is None or not _fits(draw, base, slot):
        made = "nothing" if base is None else f"{base.dtype} of shape {draw.size}"
        raise GraphError(f"The draw of slot {slot.name!r} makes {made}; the slot has {slot.dtype} and {slot.shape}.")
    return max(0, work - MOST_PASSES * 16 * slot.elements)


def _fits(draw: Draw, base: Tensor, slot: Slot) -> bool:
    if draw.size != slot.shape or base.dtype != slot.dtype or len(draw.stride) != len(draw.size):
        return False
    last = draw.offset + sum((size - 1) * stride for size, stride in zip(draw.size, draw.stride, strict=True))
    inside = draw.offset >= 0 and min(draw.stride, default=0) >= 0
    return inside and (slot.elements == 0 or (last + 1) * base.element_size() <= base.untyped_storage().nbytes())


def _work(step: Step, registers: Mapping[int, Tensor]) -> int:
    """Return how many elements a step goes over; a factorization goes over its matrix once per column."""
    if operator_of(step).is_view:
        return 0
    tensors = [registers[register] for register in registers_of(step)]
    largest = max(tensors, key=Tensor.numel, default=torch.empty(0))
    columns = min(largest.shape[-2:]) if step.operator.startswith("linalg_qr") and largest.dim() > 1 else 1
    return largest.numel() * max(1, columns // 64)


def _refuse_large_sizes(step: Step, limit: int) -> None:
    """Refuse a size list whose product is beyond the limit, before torch computes with it."""
    for value in (*step.arguments, *step.keywords.values()):
        sizes = [item for item in value if isinstance(item, int)] if isinstance(value, tuple) else []
        if sizes and prod(max(1, abs(size)) for size in sizes) > limit:
            raise GraphError(f"A draw's operation {step.operator!r} asks for the size {sizes}; at most {limit:,}.")


def _refuse_many_parts(step: Step, registers: Mapping[int, Tensor]) -> None:
    """Refuse to cut a tensor into very many, each of which costs memory even without values."""
    if step.operator.partition(".")[0] not in ("split", "unbind") or not step.arguments:
        return
    given = step.arguments[0]
    tensor = registers.get(given.index) if isinstance(given, Register) else given
    longest = max(tensor.shape, default=1) if isinstance(tensor, Tensor) else 0
    size = step.arguments[1] if step.operator == "split.Tensor" and len(step.arguments) > 1 else 1
    if longest > MAX_STEPS * max(1, size if isinstance(size, int) else 1):
        raise GraphError(f"it cuts a tensor into more than {MAX_STEPS:,} parts")


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
    raise OutputError(f"Slot {name!r} starts from a {type(value).__name__}, which a graph cannot carry.")


def _encode_tensor(value: Tensor, name: str) -> dict[str, Any]:
    if value.nbytes > MAX_CONSTANT_BYTES:
        raise OutputError(
            f"Slot {name!r} starts from a constant of {value.nbytes:,} bytes; a graph carries at most "
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
            if isinstance(found, kind):
                return found
    raise GraphError(f"A draw holds the unknown value {sorted(value)!r}.")


def _decode_tensor(value: dict[str, Any]) -> Tensor:
    text, shape = value["tensor"], tuple(int(size) for size in value["shape"])
    dtype = _decode({"dtype": value["dtype"]})
    if len(text) > 2 * MAX_CONSTANT_BYTES:
        raise GraphError(f"A draw's constant is larger than {MAX_CONSTANT_BYTES:,} bytes.")
    try:
        content = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
        return torch.from_numpy(content.copy()).view(dtype).reshape(shape)
    except (binascii.Error, RuntimeError, ValueError) as error:
        raise GraphError(f"A draw's constant of shape {shape} does not hold its bytes: {error}.") from error
