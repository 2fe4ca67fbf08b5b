"""What the operations of most init programs return on the meta device, without torch's own rules for it.

torch has these rules in Python, and the first of them that is applied imports its compiler and sympy, which takes as
long as importing torch itself. Each rule here holds where its conditions do; elsewhere, and where an argument might be
refused, torch is asked.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

import torch
from torch import Tensor

from paramgen.slots.torch_internals import TorchDispatchMode, name_of, schema_of

_UNARY: Final = (
    "abs ceil cos erf erfinv exp expm1 floor log log1p log2 neg reciprocal round rsqrt sigmoid sign sin sqrt tan tanh"
).split()
_UNARY_IN_PLACE: Final = tuple(f"{name}_" for name in _UNARY)
_ARITHMETIC: Final = ("add", "sub", "mul", "div")
_COMPARISONS: Final = ("eq", "ne", "lt", "le", "gt", "ge")
_LARGEST: Final = 1e30
"""Numbers beyond it may overflow, which torch refuses in places."""


def meta_result(operator: str, given: Mapping[str, Any]) -> Tensor | None:
    """Return what an operation returns for its arguments, by their names; None where torch has to say it."""
    rule = _RULES.get(operator)
    return None if rule is None else rule(given)


@final
class MetaResults(TorchDispatchMode):
    """Inside it, operations on the meta device return what is known here, or else what torch says."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Return what the operation returns."""
        return outcome(func, args, kwargs or {})


def outcome(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return what an operation returns: what is known here, or else what torch says."""
    known = None
    if func.namespace == "aten":
        names = (argument.name for argument in schema_of(func).arguments)
        known = meta_result(name_of(func), {**dict(zip(names, args, strict=False)), **kwargs})
    return func(*args, **kwargs) if known is None else known


def _drawn(given: Mapping[str, Any]) -> Tensor | None:
    """Say what writing normal numbers over a whole tensor returns: itself."""
    target, std = _changeable(given), given.get("std", 1.0)
    return target if _is_real(target) and _is_number(given.get("mean", 0.0)) and _is_number(std) and std >= 0 else None


def _clamped(given: Mapping[str, Any]) -> Tensor | None:
    ends = [given[name] for name in ("min", "max") if given.get(name) is not None]
    target = _changeable(given)
    return target if ends and all(map(_is_number, ends)) and _is_real(target) else None


def _changed(given: Mapping[str, Any]) -> Tensor | None:
    """Say what changing each number in place returns, by itself or with one number for all."""
    target = _changeable(given)
    fits = _is_real(target) and _is_single(given.get("other", 1)) and _is_number(given.get("alpha", 1))
    return target if fits else None


def _computed(given: Mapping[str, Any]) -> Tensor | None:
    """Say what computing with each number of a tensor returns: one like it."""
    tensor: Any = given.get("self")
    other: Any = given.get("other", 1)
    if not (_is_plain(tensor) and _is_real(tensor) and _is_number(given.get("alpha", 1))):
        return None
    alike = _is_plain(other) and other.shape == tensor.shape and other.dtype == tensor.dtype
    same = alike or (_is_single(other) and tensor.dim() > 0)
    return _new(tensor.shape, tensor.dtype) if same and set(given) <= {"self", "other", "alpha"} else None


def _compared(given: Mapping[str, Any]) -> Tensor | None:
    tensor: Any = given.get("self")
    known = _is_plain(tensor) and _is_real(tensor) and _is_number(given.get("other"))
    return _new(tensor.shape, torch.bool) if known else None


def _triangle(given: Mapping[str, Any]) -> Tensor | None:
    tensor: Any = given.get("self")
    fits = _is_plain(tensor) and tensor.dim() >= 2 and type(given.get("diagonal", 0)) is int
    return _new(tensor.shape, tensor.dtype) if fits and abs(given.get("diagonal", 0)) < 2**31 else None


def _random(given: Mapping[str, Any]) -> Tensor | None:
    """Say what drawing a new tensor returns."""
    dtype = given.get("dtype") or torch.get_default_dtype()
    return _made(given, given.get("size"), dtype) if _is_floating(dtype) else None


def _like(given: Mapping[str, Any]) -> Tensor | None:
    """Say what a new tensor like another is."""
    tensor: Any = given.get("self")
    if not _is_plain(tensor) or given.get("memory_format") not in (None, torch.preserve_format):
        return None
    return _made({"device": torch.device("meta"), **given}, tensor.shape, given.get("dtype") or tensor.dtype)


def _random_like(given: Mapping[str, Any]) -> Tensor | None:
    tensor = given.get("self")
    dtype = given.get("dtype") or (tensor.dtype if isinstance(tensor, Tensor) else None)
    return _like(given) if _is_floating(dtype) else None


def _range(given: Mapping[str, Any]) -> Tensor | None:
    """Say what a range of integers is."""
    start, end, step = given.get("start", 0), given.get("end"), given.get("step", 1)
    dtype = given.get("dtype") or torch.int64
    if not all(type(number) is int and abs(number) < 2**31 for number in (start, end, step)) or dtype is torch.bool:
        return None
    if not isinstance(end, int) or step == 0 or (end - start) * step < 0 or dtype.is_complex:
        return None
    return _made(given, (-(-(end - start) // step),), dtype)


def _spaced(given: Mapping[str, Any]) -> Tensor | None:
    steps, dtype = given.get("steps"), given.get("dtype") or torch.get_default_dtype()
    numbers = _is_number(given.get("start")) and _is_number(given.get("end")) and type(steps) is int and steps > 0
    return _made(given, (steps,), dtype) if numbers and _is_floating(dtype) else None


def _identity(given: Mapping[str, Any]) -> Tensor | None:
    rows = given.get("n")
    return _made(given, (rows, given.get("m", rows)), given.get("dtype") or torch.get_default_dtype())


def _made(given: Mapping[str, Any], size: Any, dtype: torch.dtype) -> Tensor | None:
    """Return a new tensor on the meta device, where all that was requested is usual."""
    device: Any = given.get("device")
    layout = given.get("layout")
    sizes = isinstance(size, (tuple, list)) and all(type(each) is int and each >= 0 for each in size)
    usual = layout in (None, torch.strided) and not given.get("pin_memory") and device is not None
    if not sizes or not usual or torch.device(device).type != "meta":
        return None
    return _new(size, dtype)


def _new(size: Sequence[int], dtype: torch.dtype) -> Tensor:
    return torch.empty(tuple(size), dtype=dtype, device="meta")


def _changeable(given: Mapping[str, Any]) -> Tensor | None:
    """Return the tensor that an operation writes over, where no two of its elements are at one place in memory."""
    target = given.get("self")
    return target if _is_plain(target) else None


def _is_plain(value: Any) -> bool:
    """Whether this is a tensor without gaps on the meta device, and no tensor of a subclass."""
    known = type(value) in (Tensor, torch.nn.Parameter) and value.is_meta and value.layout is torch.strided
    return known and value.is_contiguous()


def _is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.element_size() > 1


def _is_floating(dtype: Any) -> bool:
    return isinstance(dtype, torch.dtype) and dtype.is_floating_point and dtype.itemsize > 1


def _is_number(value: Any) -> bool:
    return type(value) in (int, float, bool) and (not math.isfinite(value) or abs(value) < _LARGEST)


def _is_single(value: Any) -> bool:
    """Whether this is one real number, also as a tensor."""
    if isinstance(value, Tensor):
        return value.dim() == 0 and not value.is_complex()
    return _is_number(value)


_RULES: Final[Mapping[str, Callable[[Mapping[str, Any]], Tensor | None]]] = {
    "normal_.default": _drawn,
    "clamp_.default": _clamped,
    **dict.fromkeys((f"{name}.default" for name in _UNARY_IN_PLACE), _changed),
    **{f"{name}_.Tensor": _changed for name in _ARITHMETIC},
    **dict.fromkeys((f"{name}.default" for name in _UNARY), _computed),
    **{f"{name}.Tensor": _computed for name in _ARITHMETIC},
    **{f"{name}.Scalar": _compared for name in _COMPARISONS},
    **dict.fromkeys(("tril.default", "triu.default"), _triangle),
    **dict.fromkeys(("randn.default", "rand.default"), _random),
    **dict.fromkeys(("randn_like.default", "rand_like.default"), _random_like),
    **dict.fromkeys(("empty_like.default", "zeros_like.default", "ones_like.default"), _like),
    **dict.fromkeys(("arange.default", "arange.start", "arange.start_step"), _range),
    "linspace.default": _spaced,
    **dict.fromkeys(("eye.default", "eye.m"), _identity),
}
