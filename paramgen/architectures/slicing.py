"""The operations of a recorded constructor that lead to one tensor, out of all that were logged."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from paramgen.slots.init_program import InitProgram, InitStep, Register
from paramgen.slots.torch_internals import storage_key, tree_iter, without_torch_function


@final
class MemoryView(NamedTuple):
    """The part of a storage that a tensor views."""

    storage: int
    shape: torch.Size
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> "MemoryView":
        """Return the memory that a tensor views."""
        with without_torch_function():  # a lazy parameter has a size, but refuses to say it
            offset = int(tensor.storage_offset())
            return cls(storage_of(tensor), tensor.size(), tensor.stride(), offset, tensor.dtype)


@final
@dataclass(frozen=True, slots=True)
class Call:
    """One operation as it ran, with the memory of its tensors then: `parameter.data = other` may swap it later."""

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[Tensor | None, ...]
    memory: dict[int, MemoryView]  # by the id of each tensor in it that is no constant
    changed: tuple[int, ...]  # ids of the tensors that it writes to
    lost: frozenset[int]  # ids of those of which nothing older survives


_DROPPED_KEYWORDS = frozenset(("device", "pin_memory", "layout", "generator"))


@final
class ProgramSlice:
    """The backward slice of a recorder's log that one tensor depends on."""

    def __init__(self, log: list[Call], touching: dict[int, list[int]]) -> None:
        self._log = log
        self._touching = touching
        self._registers: dict[tuple[int, int], int] = {}  # a tensor object and its storage then -> register
        self._complete = True
        self._views: list[InitStep] = []

    def program(self, tensor: Tensor) -> InitProgram | None:
        """Return the init program of `tensor`, or None where what it holds is not known."""
        kept = sorted(self._indices(storage_of(tensor)))
        base = self._base(storage_of(tensor))
        steps: list[InitStep] = []
        for index in kept:
            step = self._step(index)
            steps += (*self._views, step)
            self._views.clear()
        blank = all(step.operator.partition(".")[0] in _BLANK for step in steps)
        result = self._registers.get((id(base), storage_of(tensor)))
        if blank or not self._complete or result is None:
            return None
        view = MemoryView.of(tensor)
        if tensor.dtype == base.dtype and not (tensor.is_conj() or tensor.is_neg()):
            return InitProgram(tuple(steps), result, tuple(view.shape), view.stride, view.offset)
        last = self._read(Register(result), base, view, self._fresh())
        for bit, operator in ((tensor.is_conj(), "conj_physical.default"), (tensor.is_neg(), "neg.default")):
            last = self._view(operator, (last,), self._fresh()) if bit else last
        last = self._view("clone.default", (last,), self._fresh(), {"memory_format": torch.contiguous_format})
        contiguous = torch.empty(view.shape, device="meta").stride()
        return InitProgram((*steps, *self._views), last.index, tuple(view.shape), contiguous, 0)

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
            call = self._log[index]
            made = {id(result) for result in call.results if result is not None} - set(call.changed)
            writes = any(call.memory[changed].storage in wanted for changed in call.changed)
            if not (writes or index in makers or not needed.isdisjoint(made)):
                continue
            kept.add(index)
            wanted -= {call.memory[lost].storage for lost in call.lost}
            for read in tensors_in((call.args, call.kwargs)):
                needed.add(id(read))
                view = call.memory.get(id(read))
                if view is None or view.storage not in self._touching:
                    continue
                source = view.storage
                touching = self._touching[source]
                makers.add(touching[0])
                if id(read) not in call.lost:
                    wanted.add(source)
                fresh = {-earlier for earlier in touching if earlier < index} - queued
                queued |= fresh
                for entry in sorted(fresh):
                    heapq.heappush(heap, entry)
        return kept

    def _step(self, index: int) -> InitStep:
        call = self._log[index]
        keywords = {name: value for name, value in call.kwargs.items() if name not in _DROPPED_KEYWORDS}
        # Arguments before results: in-place operations return what they were given.
        arguments = tuple(self._value(value, call) for value in call.args)
        named = {name: self._value(value, call) for name, value in keywords.items()}
        registers = tuple(
            None if result is None else self._registers.setdefault(_key(result, call), len(self._registers))
            for result in call.results
        )
        return InitStep(str(call.func).removeprefix("aten."), arguments, named, registers)

    def _value(self, value: Any, call: Call) -> Any:
        if isinstance(value, Tensor):
            return self._reference(value, call)
        if isinstance(value, (tuple, list)):
            return tuple(self._value(item, call) for item in value)
        return None if isinstance(value, torch.Generator) else value

    def _reference(self, value: Tensor, call: Call) -> Any:
        if _key(value, call) in self._registers:
            return Register(self._registers[_key(value, call)])
        view = call.memory.get(id(value))
        if view is not None and view.storage in self._touching:  # an alias made out of sight: a Parameter, `.data`
            base = self._base(view.storage)
            made = self._log[self._touching[view.storage][0]].memory[id(base)]
            register = self._registers.get((id(base), view.storage))
            if register is not None and made == view:
                return Register(register)
            if register is not None and not (value.is_conj() or value.is_neg()):
                result = self._registers.setdefault((id(value), view.storage), len(self._registers))
                return self._read(Register(register), base, view, result)
        self._complete = self._complete and view is None  # else it is a constant
        return value

    def _read(self, register: Register, base: Tensor, view: MemoryView, result: int) -> Register:
        """Return a register that reads the memory of `base` as a tensor at `view` does: complex numbers as pairs."""
        if base.dtype != view.dtype:
            elements = base.untyped_storage().nbytes() // base.element_size()
            register = self._view("as_strided.default", (register, (elements,), (1,), 0), self._fresh())
            register = self._view("view.dtype", (register, view.dtype), self._fresh())
        return self._view("as_strided.default", (register, tuple(view.shape), view.stride, view.offset), result)

    def _view(
        self, operator: str, arguments: tuple[Any, ...], result: int, keywords: Mapping[str, Any] | None = None
    ) -> Register:
        """Add a step that no logged operation made."""
        self._views.append(InitStep(operator, arguments, keywords or {}, (result,)))
        return Register(result)

    def _fresh(self) -> int:
        """Return a register that no tensor has."""
        return self._registers.setdefault((-len(self._registers), -1), len(self._registers))

    def _base(self, storage: int) -> Tensor:
        call = self._log[self._touching[storage][0]]
        return next(
            result
            for result in call.results
            if result is not None and id(result) in call.memory and call.memory[id(result)].storage == storage
        )


_BLANK = frozenset(
    "empty empty_like empty_strided new_empty new_empty_strided detach alias view t transpose permute select slice "
    "as_strided expand squeeze unsqueeze _to_copy clone".split()
)
"""Operations that fill nothing: a tensor made by these alone holds whatever was in memory."""


def _key(tensor: Tensor, call: Call) -> tuple[int, int]:
    """Return a key that is another one once the `.data` of the tensor object was swapped."""
    view = call.memory.get(id(tensor))
    return id(tensor), 0 if view is None else view.storage


def storage_of(tensor: Tensor) -> int:
    """Return a number that only this tensor's storage has."""
    return storage_key(tensor.untyped_storage())


def tensors_in(values: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested lists, tuples and dictionaries."""
    return (value for value in tree_iter(values) if isinstance(value, Tensor))
