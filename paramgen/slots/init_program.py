"""Init programs: what a library's own constructor does to fill one slot, as a small program of tensor operations.

A network is built once, on the meta device, while every tensor operation of its constructor is recorded
(`paramgen.architectures.recorder`; the idea is torchdistX's deferred initialization). The steps that lead to one
slot are its *init program*. Running one allocates that slot and its intermediate values, nothing else, and takes its
randomness from a generator of its own: the distribution is the library's, the bytes depend on seed and name only.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Final, final

import torch
from torch import Tensor

from paramgen.errors import GraphError, one_line
from paramgen.slots.determinism import alone
from paramgen.slots.meta_results import outcome
from paramgen.slots.torch_internals import is_operator, overload_name, schema_of, tree_iter


@final
@dataclass(frozen=True, slots=True)
class Register:
    """A reference to a tensor that an earlier step made."""

    index: int


@final
@dataclass(frozen=True, slots=True)
class InitStep:
    """One operation: `operator` is `packet.overload` of `torch.ops.aten`; tensors in it are constants."""

    operator: str
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    results: tuple[int | None, ...]  # the registers that its tensor results go to


_FILLS: Final = frozenset(("normal_.default", "uniform_.default"))
_SAMPLE: Final = 4096
_BLANK: Final = frozenset(("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"))
"""Operations that return whatever was in memory: a program need not write to all of it, so it is zeroed."""
_BLOCK: Final = 16  # torch draws normal numbers by so many at a time, and the last so many of a tensor together


@final
@dataclass(frozen=True, slots=True)
class InitProgram:
    """The steps that make a slot's default initialization; the slot is a strided view of register `result`."""

    steps: tuple[InitStep, ...]
    result: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    kept: bool = False  # a live module's own value, which is not drawn anew
    drawn: bool = False  # whether that value looked as if it had been drawn when it was found

    def __repr__(self) -> str:
        operators = "kept" if self.kept else ", ".join(step.operator for step in self.steps[-3:])
        return f"InitProgram({operators}, size={self.size})"

    @property
    def random(self) -> bool:
        """Whether any step takes random numbers, or once did as far as a kept value shows."""
        return self.drawn or any(torch.Tag.nondeterministic_seeded in operator_of(step).tags for step in self.steps)

    @property
    def value(self) -> Tensor:
        """The value that is kept, itself."""
        assert self.kept
        held: Tensor = self.steps[0].arguments[0]
        return held

    def __call__(self, generator: torch.Generator) -> Tensor:
        """Run the steps on the generator's device and return the slot's default initialization."""
        registers: dict[int, Tensor] = {}
        for _, live in self.replay(generator.device, generator):
            registers = live
        if self.result not in registers:
            raise GraphError(f"An init program of {len(self.steps)} steps makes no register {self.result}.")
        value = registers[self.result]
        if (tuple(value.shape), value.stride(), value.storage_offset()) == (self.size, self.stride, self.offset):
            return value
        with _one_line_errors("as_strided"):
            return value.as_strided(self.size, self.stride, self.offset)

    @property
    def piecewise(self) -> bool:
        """Whether it is one fresh tensor filled once with random numbers: then `chunks` can make it bit by bit."""
        if len(self.steps) != 2 or self.offset or not self.size:
            return False
        new, fill = self.steps
        fresh = {"empty.memory_format": (self.size,), "empty_strided.default": (self.size, self.stride)}
        return (
            fresh.get(new.operator) == new.arguments
            and new.keywords.get("memory_format") in (None, torch.contiguous_format)
            and (fill.operator in _FILLS and fill.arguments[:1] == (Register(self.result),))
            and new.results == (self.result,)
            and self.stride == torch.empty(self.size, device="meta").stride()
        )

    def chunks(self, generator: torch.Generator, elements: int) -> Iterator[Tensor]:
        """Yield the same numbers as a call, flat, about `elements` at a time, each valid until the next is requested.

        Small pieces stay in the processor's cache: they are also drawn faster.
        """
        new, fill = self.steps
        step = max(1, elements // _BLOCK) * _BLOCK
        registers: dict[int, Tensor] = {}
        keywords = {"dtype": new.keywords.get("dtype")}
        _run(
            InitStep("empty.memory_format", ((step + _BLOCK,),), keywords, new.results),
            registers,
            generator.device,
            None,
        )
        left = prod(self.size)
        while left:
            count = left if left < step + _BLOCK else step
            filled = {self.result: registers[self.result][:count]}
            _run(fill, filled, generator.device, generator)
            yield filled[self.result]
            left -= count

    def replay(
        self, device: torch.device, generator: torch.Generator | None
    ) -> Iterator[tuple[InitStep, dict[int, Tensor]]]:
        """Run step after step; yield each with the registers that hold a tensor then."""
        registers: dict[int, Tensor] = {}
        last_use = {register: index for index, step in enumerate(self.steps) for register in registers_of(step)}
        for index, step in enumerate(self.steps):
            with _one_line_errors(step.operator):
                _run(step, registers, device, generator)
            yield step, registers
            for register in registers_of(step):
                if last_use[register] == index and register != self.result:
                    registers.pop(register, None)


def kept(value: Tensor) -> InitProgram:
    """Return the init program of a slot that keeps the value it has, which is read when the program runs, not now."""
    return replace(constant(value), kept=True, drawn=_looks_drawn(value))


def full(number: Tensor, size: tuple[int, ...]) -> InitProgram:
    """Return the init program of a slot that holds one number everywhere."""
    step = InitStep("full.default", (size, number.item()), {"dtype": number.dtype}, (0,))
    return InitProgram((step,), 0, size, torch.empty(size, device="meta").stride(), 0)


def _looks_drawn(value: Tensor) -> bool:
    """Whether values look random: with at most two different ones (zeros, ones, an identity) they do not."""
    flat = value.detach().reshape(-1)
    if flat.element_size() == 1:
        flat = flat.view(torch.uint8)
    return any(_mixed(part) for part in (flat[:_SAMPLE], flat))  # a few mostly say it


def _mixed(flat: Tensor) -> bool:
    others = flat[flat != flat[:1]]
    return len(others) > 0 and (len(flat) == 2 or bool((others != others[0]).any()))


def constant(value: Tensor) -> InitProgram:
    """Return the init program of a slot that always holds `value`."""
    step = InitStep("clone.default", (value.detach(),), {"memory_format": torch.contiguous_format}, (0,))
    return InitProgram((step,), 0, tuple(value.shape), torch.empty(value.shape, device="meta").stride(), 0)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: the last digits of a sum or a decomposition depend on how many threads share it.

    torch keeps the number for each thread that calls it, so those that do this at once do not meet.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def slot_generator(seed: int, name: str, *, stream: str = "") -> torch.Generator:
    """Return the generator of one slot: seed, name and stream decide, order and position do not."""
    digest = hashlib.blake2b(f"{seed}\0{name}\0{stream}".encode(), digest_size=8).digest()
    # torch takes signed 64-bit seeds: drop one bit.
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little") >> 1)


def operator_of(step: InitStep) -> Any:
    """Return the step's operator from `torch.ops.aten`.

    Raises:
        GraphError: There is no such operator.
    """
    packet, _, overload = step.operator.partition(".")
    found = getattr(getattr(torch.ops.aten, packet, None), overload, None)
    if not is_operator(found):
        raise GraphError(f"Unknown tensor operation {one_line(step.operator)!r} in a slot's init program.")
    return found


def registers_of(step: InitStep) -> set[int]:
    """Return the registers that the step reads or makes."""
    named = (value for value in tree_iter((step.arguments, dict(step.keywords))) if isinstance(value, Register))
    return {*(value.index for value in named), *(result for result in step.results if result is not None)}


@contextlib.contextmanager
def _one_line_errors(operator: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, LookupError, TypeError, ValueError, ArithmeticError, AssertionError, AttributeError) as error:
        raise GraphError(
            f"An init program's operation {operator!r} fails: {type(error).__name__}: {one_line(error)}"
        ) from error


def _run(step: InitStep, registers: dict[int, Tensor], device: torch.device, generator: torch.Generator | None) -> None:
    operator = operator_of(step)
    # A constant that is written to, or of which a view may be, must be the same at the next replay.
    copy = any(argument.alias_info is not None for argument in schema_of(operator).arguments)
    arguments = tuple(_resolve(value, registers, device, copy) for value in step.arguments)
    keywords = {name: _resolve(value, registers, device, copy) for name, value in step.keywords.items()}
    outcome = _call(operator, arguments, keywords, device, generator)
    results = outcome if isinstance(outcome, (tuple, list)) else (outcome,)
    for register, result in zip(step.results, results, strict=True):
        if step.operator.partition(".")[0] in _BLANK and not result.is_meta:
            result.untyped_storage().fill_(0)  # gaps between its elements included
        if register is not None:
            registers[register] = result


def _call(
    operator: Any,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    device: torch.device,
    generator: torch.Generator | None,
) -> Any:
    if "linalg" in operator.name():
        with one_thread():
            return operator(*arguments, **keywords)
    accepted = {argument.name for argument in schema_of(operator).arguments}
    if "device" in accepted:
        keywords["device"] = device
    if generator is None:  # tried without values
        return outcome(operator, arguments, keywords)
    if torch.Tag.nondeterministic_seeded in operator.tags:
        if "generator" not in accepted:
            overload = overload_name(operator)
            name = "generator" if overload == "default" else f"{overload}_generator"
            if name not in operator.overloadpacket.overloads():  # it knows the global state only
                return _call_globally(operator, arguments, keywords, generator)
            operator = getattr(operator.overloadpacket, name)
        keywords["generator"] = generator
    return operator(*arguments, **keywords)


def _call_globally(
    operator: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], generator: torch.Generator
) -> Any:
    with alone(), torch.random.fork_rng(devices=[]):
        torch.default_generator.set_state(generator.get_state())
        outcome = operator(*arguments, **keywords)
        generator.set_state(torch.default_generator.get_state())
    return outcome


def _resolve(value: Any, registers: Mapping[int, Tensor], device: torch.device, copy: bool) -> Any:
    if isinstance(value, Register):
        return registers[value.index]
    if isinstance(value, Tensor):
        return value.to(device, copy=copy)
    if isinstance(value, (tuple, list)):
        return [_resolve(item, registers, device, copy) for item in value]
    return value
