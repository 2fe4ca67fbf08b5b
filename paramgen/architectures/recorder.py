"""Build a network on the meta device and keep what its constructor draws (see `paramgen.draws`)."""

import heapq
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, final
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

from paramgen.draws import Draw, Register, Step

_Call = tuple[Any, tuple[Any, ...], dict[str, Any], tuple[Tensor | None, ...]]
"""An operation, its arguments, and its tensor results."""

_DROPPED_KEYWORDS = frozenset(("device", "pin_memory", "layout", "generator"))


@final
class Recorder(TorchDispatchMode):
    """Log every tensor operation on meta tensors, with its arguments, in order.

    Tensors are told apart by storage: a parameter is a new object over the storage that its initializer filled.
    """

    def __init__(self) -> None:
        super().__init__()
        self._log: list[_Call] = []
        self._touching: dict[int, list[int]] = {}  # storage -> operations that make, view or change it
        self._keep: list[Any] = []  # an id is only good while its object lives

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the operation and note it."""
        outcome = func(*args, **(kwargs or {}))
        results = tuple(outcome) if isinstance(outcome, (tuple, list)) else (outcome,)
        tensors = tuple(result if isinstance(result, Tensor) else None for result in results)
        changed = _changed(func, args, kwargs or {})
        touched = {_storage(tensor) for tensor in (*tensors, *changed) if tensor is not None and tensor.is_meta}
        if touched:
            index = len(self._log)
            self._log.append((func, tree_map(_snapshot, args), dict(tree_map(_snapshot, kwargs or {})), tensors))
            self._keep.append((args, kwargs, tensors))
            for storage in touched:
                self._touching.setdefault(storage, []).append(index)
        return outcome

    def draw_of(self, tensor: Tensor) -> Draw | None:
        """Return the draw of `tensor`, or None if its values did not come from recorded operations."""
        if not tensor.is_meta or _storage(tensor) not in self._touching:
            return None
        return _Slice(self._log, self._touching).draw(tensor)


@final
class _Slice:
    """The backward slice of a recorder's log that one tensor depends on."""

    def __init__(self, log: list[_Call], touching: dict[int, list[int]]) -> None:
        self._log = log
        self._touching = touching
        self._registers: dict[int, int] = {}  # id of a tensor object -> register
        self._complete = True

    def draw(self, tensor: Tensor) -> Draw | None:
        kept = sorted(self._indices(_storage(tensor)))
        base = next(result for result in self._log[self._touching[_storage(tensor)][0]][3] if result is not None)
        steps = tuple(self._step(index) for index in kept)
        if not self._complete or id(base) not in self._registers:
            return None
        result = self._registers[id(base)]
        return Draw(steps, result, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()))

    def _indices(self, storage: int) -> set[int]:
        """Walk the log backwards from the last operation that touches `storage`."""
        kept: set[int] = set()
        wanted = {storage}  # storages whose contents matter at this point of the walk
        needed: set[int] = set()  # ids of tensor objects that a kept operation names
        makers = {self._touching[storage][0]}  # the operations that allocate what is wanted
        heap = [-index for index in self._touching[storage]]
        heapq.heapify(heap)
        queued = set(heap)
        while heap:
            index = -heapq.heappop(heap)
            func, args, kwargs, results = self._log[index]
            changed = [tensor for tensor in _changed(func, args, kwargs) if tensor.is_meta]
            returned = {id(result) for result in results if result is not None}
            named = not needed.isdisjoint(returned - {id(tensor) for tensor in changed})
            if not (named or index in makers or any(_storage(tensor) in wanted for tensor in changed)):
                continue
            kept.add(index)
            lost = {id(tensor) for tensor in changed if _overwrites(func, tensor, args)}
            wanted -= {_storage(tensor) for tensor in changed if id(tensor) in lost}
            for read in _tensors(args, kwargs):
                needed.add(id(read))
                if not read.is_meta or _storage(read) not in self._touching:
                    continue
                touching = self._touching[_storage(read)]
                makers.add(touching[0])
                if id(read) not in lost:
                    wanted.add(_storage(read))
                for earlier in touching:
                    if earlier < index and -earlier not in queued:
                        queued.add(-earlier)
                        heapq.heappush(heap, -earlier)
        return kept

    def _step(self, index: int) -> Step:
        func, args, kwargs, results = self._log[index]
        packet, _, overload = func.__str__().removeprefix("aten.").partition(".")
        keywords = {name: self._value(value) for name, value in kwargs.items() if name not in _DROPPED_KEYWORDS}
        arguments = tuple(self._value(value) for value in args)  # before the results: in-place operations return self
        registers = tuple(
            None if result is None else self._registers.setdefault(id(result), len(self._registers))
            for result in results
        )
        return Step(f"{packet}.{overload}", arguments, keywords, registers)

    def _value(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._reference(value)
        if isinstance(value, (tuple, list)):
            return tuple(self._value(item) for item in value)
        if isinstance(value, torch.Generator):
            return None
        return value

    def _reference(self, value: Tensor) -> Any:
        if id(value) in self._registers:
            return Register(self._registers[id(value)])
        if value.is_meta:  # an alias made out of sight, or values that never existed
            maker = self._touching.get(_storage(value))
            base = None if maker is None else next(r for r in self._log[maker[0]][3] if r is not None)
            if base is not None and id(base) in self._registers and _same_view(base, value):
                return Register(self._registers[id(base)])
            self._complete = False
        return value


@final
class _MetaDevice(DeviceContext):
    """`torch.device("meta")`, but the values of literals are recorded before they are lost.

    With `small_on_cpu`, ranges stay on the CPU too, for constructors that read them back (`.tolist()`).
    """

    def __init__(self, *, small_on_cpu: bool) -> None:
        super().__init__(torch.device("meta"))
        self._small_on_cpu = small_on_cpu

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        keywords = kwargs or {}
        if func == _IS_META and sys._getframe(1).f_globals.get("__name__") == "torch.nn.init":
            return False  # these initializers skip meta tensors; recorded, they shall not
        if keywords.get("device") is None:
            if self._small_on_cpu and func in _RANGES:
                return func(*args, **{**keywords, "device": "cpu"})
            if func in (torch.tensor, torch.as_tensor):
                literal = func(*args, **{**keywords, "device": "cpu"})
                return literal if self._small_on_cpu else literal.to("meta")
        return super().__torch_function__(func, types, args, keywords)


_IS_META = Tensor.is_meta.__get__  # type: ignore[attr-defined]
_RANGES = frozenset((torch.arange, torch.linspace, torch.logspace))


def _truncated_normal(tensor: Tensor, mean: float, std: float, a: float, b: float, generator: Any = None) -> Tensor:
    """Draw by the inverse of the distribution function: torch's own rejection loop reads values back."""
    low, high = (1 + math.erf((a - mean) / std / math.sqrt(2))) / 2, (1 + math.erf((b - mean) / std / math.sqrt(2))) / 2
    tensor.uniform_(2 * low - 1, 2 * high - 1).erfinv_().mul_(std * math.sqrt(2)).add_(mean).clamp_(a, b)
    return tensor


def record(build: Callable[[], nn.Module]) -> tuple[nn.Module, dict[str, Draw]]:
    """Call `build` under the meta device and return its module and the draw of each state-dict entry."""
    try:
        return _record(build, small_on_cpu=False)
    except (NotImplementedError, RuntimeError) as error:
        if "meta" not in str(error):
            raise
        return _record(build, small_on_cpu=True)


def _record(build: Callable[[], nn.Module], *, small_on_cpu: bool) -> tuple[nn.Module, dict[str, Draw]]:
    recorder = Recorder()
    with (
        mock.patch.object(nn.init, "_no_grad_trunc_normal_", _truncated_normal),
        _MetaDevice(small_on_cpu=small_on_cpu),
        recorder,
        torch.no_grad(),
    ):
        module = build()
    return module, draws_of(module, recorder)


def draws_of(module: nn.Module, recorder: Recorder) -> dict[str, Draw]:
    """Return the draws of the entries of `module`'s state dict that `recorder` saw made."""
    found: dict[str, Draw] = {}
    seen: dict[int, str] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if id(tensor) in seen:
            continue
        seen[id(tensor)] = name
        draw = recorder.draw_of(tensor)
        if draw is not None:
            found[name] = draw
    return found


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _same_view(one: Tensor, other: Tensor) -> bool:
    return (
        one.shape == other.shape
        and one.stride() == other.stride()
        and one.storage_offset() == other.storage_offset()
        and one.dtype == other.dtype
    )


def _snapshot(value: Any) -> Any:
    """Copy real tensors, which later operations may change; meta tensors are references."""
    return value.detach().clone() if isinstance(value, Tensor) and not value.is_meta else value


def _tensors(args: Any, kwargs: Any) -> Iterator[Tensor]:
    return (value for value in tree_iter((args, kwargs)) if isinstance(value, Tensor))


def _changed(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Return the arguments that the operation writes to, by its schema."""
    changed: list[Tensor] = []
    for position, argument in enumerate(func._schema.arguments):
        if argument.is_write:
            value = args[position] if position < len(args) else kwargs.get(argument.name)
            changed.extend(item for item in tree_iter(value) if isinstance(item, Tensor))
    return changed


_OVERWRITING = frozenset(("normal_", "uniform_", "fill_", "zero_", "copy_", "random_", "bernoulli_", "exponential_"))


def _overwrites(func: Any, target: Tensor, args: tuple[Any, ...]) -> bool:
    """Whether nothing of what the target's storage held before survives the operation."""
    whole = target.numel() * target.element_size() == target.untyped_storage().nbytes()
    return whole and func.overloadpacket.__name__ in _OVERWRITING and args[0] is target
