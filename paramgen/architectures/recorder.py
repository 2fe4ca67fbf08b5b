"""Build a network on the meta device and record the init program of every slot (see `paramgen.slots.init_program`)."""

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, final, no_type_check

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from paramgen.architectures.memory import on_meta
from paramgen.architectures.slicing import Call, MemoryView, ProgramSlice, storage_of, tensors_in
from paramgen.errors import ArchitectureError
from paramgen.slots.determinism import CONSTRUCTING, undisturbed
from paramgen.slots.init_program import InitProgram, constant
from paramgen.slots.manifest import state_of
from paramgen.slots.meta_results import outcome
from paramgen.slots.torch_internals import (
    DeviceContext,
    TorchDispatchMode,
    schema_of,
    tree_iter,
    tree_map,
    truncated_normals_by,
)

T = TypeVar("T")

MAX_OPERATIONS: Final = 200_000
"""Minutes of building; the largest networks of the libraries take some ten thousand."""


@final
class Recorder(TorchDispatchMode):
    """Log every tensor operation, with its arguments, in order.

    Tensors are distinguished by storage: a parameter is a new object over the storage that its initializer filled.
    What no logged operation made and holds values (an array's content, a file's) is a constant.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._log: list[Call] = []
        self._touching: dict[int, list[int]] = {}  # storage -> operations that make, view or change it
        self._alive: list[Any] = []  # storages, whose addresses must not be used again

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the operation and note it."""
        noted = tree_map(self._snapshot, (args, dict(kwargs or {})))
        given = list(tensors_in((args, kwargs or {})))
        if any(tensor.is_meta for tensor in given) and any(tensor.dim() and not tensor.is_meta for tensor in given):
            args, kwargs = tree_map(_on_meta, (args, dict(kwargs or {})))  # a constructor that mixes what we separated
        made = outcome(func, args, kwargs or {})
        returned = tuple(made) if isinstance(made, (tuple, list)) else (made,)
        results = tuple(result if isinstance(result, Tensor) else None for result in returned)
        changed = [tensor for tensor in _changed(func, args, kwargs or {}) if self._known(tensor)]
        touched = [tensor for tensor in (*results, *changed) if tensor is not None and tensor.layout is torch.strided]
        if touched:
            self._note(func, noted, results, changed, frozenset(id(t) for t in changed if _overwrites(func, t, args)))
            for tensor in touched:
                if storage_of(tensor) not in self._touching:
                    self._touching[storage_of(tensor)] = []
                    self._alive.append(tensor.untyped_storage())
            for storage in {storage_of(tensor) for tensor in touched}:
                self._touching[storage].append(len(self._log) - 1)
        return made

    def program_of(self, tensor: Tensor) -> InitProgram | None:
        """Return the init program of `tensor`, or None if nobody knows what its values are."""
        if self._known(tensor) and storage_of(tensor) in self._touching:
            program = ProgramSlice(self._log, self._touching).program(tensor)
            if program is not None:
                return program
        return None if tensor.is_meta else constant(tensor)

    def _note(
        self,
        func: Any,
        noted: tuple[tuple[Any, ...], dict[str, Any]],
        results: tuple[Tensor | None, ...],
        changed: list[Tensor],
        lost: frozenset[int],
    ) -> None:
        if len(self._log) >= MAX_OPERATIONS:
            raise ArchitectureError(
                f"the constructor runs more than {MAX_OPERATIONS:,} tensor operations; give a smaller network"
            )
        given = [tensor for tensor in tensors_in(noted) if self._known(tensor)]
        made = [tensor for tensor in results if tensor is not None and tensor.layout is torch.strided]
        memory = {id(tensor): MemoryView.of(tensor) for tensor in (*given, *made)}
        self._log.append(Call(func, *noted, results, memory, tuple(id(tensor) for tensor in changed), lost))

    def _known(self, tensor: Tensor) -> bool:
        if tensor.layout is not torch.strided:
            return False
        return tensor.is_meta or storage_of(tensor) in self._touching

    def _snapshot(self, value: Any) -> Any:
        """Copy constants, which later operations may change; other tensors are references."""
        return value.detach().clone() if isinstance(value, Tensor) and not self._known(value) else value


@final
class _MetaDevice(DeviceContext):
    """`torch.device("meta")`, but the values of literals are recorded before they are lost.

    With `small_on_cpu`, ranges stay on the CPU too, for constructors that read them back (`.tolist()`).
    """

    def __init__(self, *, small_on_cpu: bool) -> None:
        super().__init__(torch.device("meta"))
        self._small_on_cpu = small_on_cpu

    @no_type_check  # a checker around it would be the caller that it looks at
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        keywords = kwargs or {}
        if func == _IS_META and sys._getframe(1).f_globals.get("__name__") == "torch.nn.init":
            return False  # these initializers skip meta tensors; recorded, they shall not
        device = keywords.get("device")
        if device is not None and not self._small_on_cpu and func in _FACTORIES and torch.device(device).type == "cpu":
            keywords = {**keywords, "device": "meta"}
        if device is None:
            if self._small_on_cpu and func in _RANGES:
                return func(*args, **{**keywords, "device": "cpu"})
            if func in (torch.tensor, torch.as_tensor):
                literal = func(*args, **{**keywords, "device": "cpu"})
                return literal if self._small_on_cpu else literal.to("meta")
        return super().__torch_function__(func, types, args, keywords)


_IS_META = Tensor.is_meta.__get__  # type: ignore[attr-defined]
_RANGES = frozenset((torch.arange, torch.linspace, torch.logspace))
_FACTORIES = frozenset((torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.normal))


def _truncated_normal(
    tensor: Tensor, mean: int | float, std: int | float, a: int | float, b: int | float, *, generator: Any = None
) -> Tensor:
    """Fill by the inverse of the distribution function: torch's own rejection loop reads values back."""
    if std == 0:
        return tensor.fill_(min(max(mean, a), b))
    low, high = math.erf((a - mean) / std / math.sqrt(2)), math.erf((b - mean) / std / math.sqrt(2))
    wide = tensor if tensor.dtype in (torch.float32, torch.float64) else torch.empty_like(tensor, dtype=torch.float32)
    # At 1 the inverse is infinite; the float32 next to it is 5.4 standard deviations out.
    wide.uniform_(low, high).clamp_(-_BELOW_ONE, _BELOW_ONE).erfinv_()
    wide.mul_(std * math.sqrt(2)).add_(mean).clamp_(a, b)
    return tensor if wide is tensor else tensor.copy_(wide)


_BELOW_ONE = 1 - 2**-24


def record(build: Callable[[], nn.Module]) -> tuple[nn.Module, dict[str, InitProgram]]:
    """Call `build` under the meta device and return its module and the init program of each state-dict entry.

    The module comes back on the meta device, whatever device its constructor requested.

    Raises:
        ArchitectureError: `build` returns no module, or one with layers that have no shape yet.
    """
    module, recorder = watched(build)
    if not isinstance(module, nn.Module):
        raise ArchitectureError(f"it returns {type(module).__name__}, not an nn.Module")
    tensors = (*module.named_parameters(), *module.named_buffers())
    if lazy := next((name for name, tensor in tensors if is_lazy(tensor)), None):
        raise ArchitectureError(f"{lazy!r} has no shape before the first forward pass; give its layer's sizes")
    programs = programs_of(module, recorder)
    on_meta(module)
    return module, programs


def built_on(device: torch.device, build: Callable[[], nn.Module]) -> nn.Module:
    """Call `build` under a device. On meta, tensors that constructors decide by have their values, as when recorded."""
    if device.type == "meta":
        module, _ = watched(build)
        on_meta(module)
        return module
    with torch.device(device):
        return build()


def watched(run: Callable[[], T]) -> tuple[T, Recorder]:
    """Call `run` under the meta device and return its result and the log of its tensor operations."""
    try:
        return _watched(run, small_on_cpu=False)
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        if "meta" not in str(error):
            raise
        return _watched(run, small_on_cpu=True)


@undisturbed
def _watched(run: Callable[[], T], *, small_on_cpu: bool) -> tuple[T, Recorder]:
    recorder = Recorder()
    with (
        CONSTRUCTING,
        truncated_normals_by(_truncated_normal),
        _MetaDevice(small_on_cpu=small_on_cpu),
        recorder,
        torch.no_grad(),
    ):
        return run(), recorder


def programs_of(module: nn.Module, recorder: Recorder) -> dict[str, InitProgram]:
    """Return the init programs that `recorder` saw for the entries of `module`'s state dict and its other buffers."""
    found: dict[str, InitProgram] = {}
    seen: dict[int, str] = {}
    state = state_of(module)
    for name, tensor in (*state.items(), *((name, t) for name, t in module.named_buffers() if name not in state)):
        if id(tensor) in seen:
            continue
        seen[id(tensor)] = name
        program = recorder.program_of(tensor)
        if program is not None:
            found[name] = program
    return found


def _on_meta(value: Any) -> Any:
    return value.to("meta") if isinstance(value, Tensor) else value


def _changed(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Return the arguments that the operation writes to, by its schema."""
    changed: list[Tensor] = []
    for position, argument in enumerate(schema_of(func).arguments):
        if argument.is_write:
            value = args[position] if position < len(args) else kwargs.get(argument.name)
            changed.extend(item for item in tree_iter(value) if isinstance(item, Tensor))
    return changed


_OVERWRITING = frozenset(("normal_", "uniform_", "fill_", "zero_", "copy_", "random_", "bernoulli_", "exponential_"))


def _overwrites(func: Any, target: Tensor, args: tuple[Any, ...]) -> bool:
    """Whether nothing of what the target's storage held before survives the operation."""
    whole = target.numel() * target.element_size() == target.untyped_storage().nbytes()
    return whole and func.overloadpacket.__name__ in _OVERWRITING and args[0] is target
