"""What an init program of a stranger may do: which operations it calls, and what they take, known before they run.

Every limit looks at the arguments by the names of the operation's schema, however they were passed, and memory is
counted in bytes. Nothing here computes values: a program is tried on the meta device.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from types import NoneType
from typing import Any, Final, final

import torch
from torch import Tensor

from paramgen.errors import GraphError, one_line
from paramgen.slots.init_program import InitProgram, InitStep, Register, operator_of, registers_of
from paramgen.slots.manifest import Slot
from paramgen.slots.torch_internals import schema_of, storage_key

MAX_SLOT_STEPS: Final = 10_000
MAX_SIDES: Final = 64
"""The values of an init program have at most so many dimensions, which is torch's own limit for most operations."""
MEMORY_FACTOR: Final = 8
"""An init program has in memory at most so many times its slot's bytes at a time, plus a constant."""
MEMORY_CONSTANT: Final = 128 * 2**20
MOST_PASSES: Final = 320
"""All steps of an init program together compute at most so many elements for each of its slot's, or a constant."""
WORK_CONSTANT: Final = 200_000_000
EXACT: Final = 2**53
"""Random integers are drawn up to here, where float64 still tells one from the next."""

PACKETS: Final = frozenset(
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
PROGRAM_DTYPES: Final = frozenset(
    "float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2 complex64 complex128 int64 int32 int16 int8 uint8 "
    "uint16 uint32 uint64 bool".split()
)
_DECIDED: Final = frozenset(("device", "pin_memory", "layout", "generator", "out"))
"""Arguments that whoever runs an init program decides."""
_RESULTS: Final = frozenset(("Tensor", "List[Tensor]"))
_WORDS: Final[Mapping[str, type]] = {"ScalarType": torch.dtype, "MemoryFormat": torch.memory_format}
"""Torch takes numbers in their place too, without a look whether they mean anything: 64 as a dtype ends the process."""


@final
@dataclass(frozen=True, slots=True)
class _Signature:
    """What is looked up of an operator again and again."""

    names: tuple[str, ...]
    words: Mapping[str, type]  # arguments that are words of torch, and of which kind
    positional: int  # so many of them may be passed by position
    required: frozenset[str]
    view: bool
    results: int | None  # None: as many as it cuts its input into


def known_packet(operator: str) -> bool:
    """Whether a graph can carry steps of this operation."""
    return operator.partition(".")[0] in PACKETS


@lru_cache(maxsize=1024)
def _signature(operator: str) -> _Signature:
    """Return what is known of an operator of tensors; operators of numbers, texts and lists are refused."""
    unknown = f"it uses the unknown tensor operation {one_line(operator)!r}"
    if not known_packet(operator):
        raise GraphError(unknown)
    found = operator_of(InitStep(operator, (), {}, ()))
    schema = schema_of(found)
    kinds = [str(returned.type) for returned in schema.returns]
    if not kinds or not _RESULTS.issuperset(kinds):
        raise GraphError(unknown)
    if any(argument.is_out for argument in schema.arguments):
        raise GraphError(f"its operation {operator!r} writes into what it is given")
    names = tuple(argument.name for argument in schema.arguments)
    return _Signature(
        names=names,
        words={
            argument.name: kind
            for argument in schema.arguments
            for word, kind in _WORDS.items()
            if word in str(argument.real_type)
        },
        positional=sum(not argument.kwarg_only for argument in schema.arguments),
        required=frozenset(argument.name for argument in schema.arguments if not argument.has_default_value()),
        view=found.is_view,
        results=None if "List[Tensor]" in kinds else len(kinds),
    )


def bound(step: InitStep) -> dict[str, Any]:
    """Return the arguments of a step by the names of its operator's schema, however they were passed.

    Raises:
        GraphError: The operator is unknown or does not take these arguments, or an init program may not give them.
    """
    signature = _signature(step.operator)
    if len(step.arguments) > signature.positional:
        raise GraphError(
            f"its operation {step.operator!r} takes {signature.positional} values, not {len(step.arguments)}"
        )
    given = dict(zip(signature.names, step.arguments, strict=False))
    for name, value in step.keywords.items():
        if name in given or name not in signature.names:
            raise GraphError(f"its operation {step.operator!r} takes no {one_line(name)!r}, or only once")
        given[name] = value
    for name, kind in signature.words.items():
        if not isinstance(given.get(name), (kind, NoneType)):
            raise GraphError(f"its operation {step.operator!r} takes a {kind.__name__} as {name!r}")
    if not _DECIDED.isdisjoint(given):
        raise GraphError(f"it sets {', '.join(sorted(_DECIDED & set(given)))}, which we decide")
    if missing := signature.required - set(given):
        raise GraphError(f"its operation {step.operator!r} needs {', '.join(sorted(missing))}")
    return given


def check_step(step: InitStep) -> None:
    """Refuse, without running anything, what the init program of no slot may have.

    Raises:
        GraphError: The step is refused.
    """
    given = bound(step)
    signature = _signature(step.operator)
    if None in step.results or len(set(step.results)) != len(step.results):
        raise GraphError(f"its operation {step.operator!r} does not keep each of its results in a register of its own")
    if signature.results is not None and len(step.results) != signature.results:
        raise GraphError(f"its operation {step.operator!r} has {signature.results} results, not {len(step.results)}")
    if len(step.results) > MAX_SLOT_STEPS:
        raise GraphError(f"it cuts a tensor into more than {MAX_SLOT_STEPS:,} parts")
    for name, value in given.items():
        parts = signature.results is None and name in ("split_size", "split_sizes", "sizes")
        numbers = isinstance(value, tuple) and value and all(isinstance(item, int) for item in value)
        if numbers and len(value) > (MAX_SLOT_STEPS if parts else 2 * MAX_SIDES):
            raise GraphError(f"its operation {step.operator!r} gives {name!r} {len(value):,} numbers")


def check_program(program: InitProgram, slot: Slot) -> int:
    """Run the program without values; refuse what is too large, out of bounds or not the slot's shape and dtype.

    Returns:
        How many elements the program computes beyond those that any program of such a slot may.

    Raises:
        GraphError: The program cannot be run, is too large, or makes another tensor than the slot's.
    """
    memory = _Memory(MEMORY_FACTOR * slot.elements * slot.dtype.itemsize + MEMORY_CONSTANT)
    most = max(MOST_PASSES * slot.elements, WORK_CONSTANT)
    work, base = 0, None
    try:
        replay = program.replay(torch.device("meta"), None)
        registers: dict[int, Tensor] = {}
        for step in program.steps:
            given = bound(step)
            _refuse_large_sizes(step, given, memory.limit)
            _refuse_other_parts(step, given, registers)
            _refuse_traps(step, given, registers)
            _, registers = next(replay)
            touched = registers_of(step)
            work += _work(step, [registers[register] for register in touched])
            if work > most:
                raise GraphError(f"it goes over more than {most:,} elements")
            memory.after(step, touched, registers)
            base = registers.get(program.result, base)
    except GraphError as error:
        raise GraphError(f"The init program of slot {slot.name!r} cannot be run: {error.message}.") from error
    if base is None or not _fits(program, base, slot):
        made = "nothing" if base is None else f"{base.dtype} of shape {program.size}"
        raise GraphError(
            f"The init program of slot {slot.name!r} makes {made}; the slot has {slot.dtype} and {slot.shape}."
        )
    return max(0, work - MOST_PASSES * slot.elements)


@final
class _Memory:
    """How many bytes the registers of an init program hold together, step after step, each storage counted once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: dict[int, int] = {}  # register -> storage
        self._holders: dict[int, int] = {}  # storage -> how many registers
        self._bytes: dict[int, int] = {}
        self._total = 0
        self._touched: set[int] = set()

    def after(self, step: InitStep, touched: set[int], registers: Mapping[int, Tensor]) -> None:
        """Take the registers into account that a step read or made; refuse what is beyond the limit."""
        for register in self._touched - registers.keys():  # let go since the last step
            self._let_go(register)
        self._touched = touched
        tensors = [registers[register] for register in touched]
        for register, tensor in zip(touched, tensors, strict=True):
            if tensor.dim() > MAX_SIDES:
                raise GraphError(f"it makes a tensor of {tensor.dim():,} dimensions; allowed are {MAX_SIDES}")
            self._hold(register, tensor)
        needed = self._total + _taken(step, tensors)
        if needed > self.limit:
            raise GraphError(f"it has {needed:,} bytes in memory at a time; allowed are {self.limit:,}")
        if len(self._held) > MAX_SLOT_STEPS:
            raise GraphError(f"it keeps more than {MAX_SLOT_STEPS:,} tensors at a time")

    def _hold(self, register: int, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage_key(storage)
        if self._held.get(register) == key:
            return
        self._let_go(register)
        self._held[register] = key
        self._holders[key] = self._holders.get(key, 0) + 1
        if key not in self._bytes:
            self._bytes[key] = storage.nbytes()
            self._total += self._bytes[key]

    def _let_go(self, register: int) -> None:
        key = self._held.pop(register, None)
        if key is None:
            return
        self._holders[key] -= 1
        if not self._holders[key]:
            del self._holders[key]
            self._total -= self._bytes.pop(key)


def _taken(step: InitStep, tensors: list[Tensor]) -> int:
    """Return how many bytes an operation may take for itself: a copy of its largest value, a factorization two."""
    if _signature(step.operator).view:
        return 0
    largest = max((tensor.numel() * tensor.element_size() for tensor in tensors), default=0)
    return largest * (2 if step.operator.startswith("linalg") else 1)


def _work(step: InitStep, tensors: list[Tensor]) -> int:
    """Return how many elements a step goes over; a factorization goes over its matrix once per column."""
    if _signature(step.operator).view:
        return 0
    largest = max(tensors, key=Tensor.numel, default=torch.empty(0))
    columns = min(largest.shape[-2:]) if step.operator.startswith("linalg") and largest.dim() > 1 else 1
    return largest.numel() * max(1, columns // 64)


def _fits(program: InitProgram, base: Tensor, slot: Slot) -> bool:
    if program.size != slot.shape or base.dtype != slot.dtype or len(program.stride) != len(program.size):
        return False
    last = program.offset + sum((size - 1) * stride for size, stride in zip(program.size, program.stride, strict=True))
    inside = program.offset >= 0 and min(program.stride, default=0) >= 0
    return inside and (slot.elements == 0 or (last + 1) * base.element_size() <= base.untyped_storage().nbytes())


def _refuse_large_sizes(step: InitStep, given: Mapping[str, Any], limit: int) -> None:
    """Refuse a list of sizes whose product is beyond the limit, before torch computes with it."""
    for name, value in given.items():
        if name == "stride":  # which says where values lie, not how many; the memory that it takes is counted
            continue
        sizes = [item for item in value if isinstance(item, int)] if isinstance(value, tuple) else []
        if sizes and prod(max(1, abs(size)) for size in sizes) > limit:
            raise GraphError(
                f"its operation {step.operator!r} asks for the size {one_line(sizes)}; at most {limit:,} are allowed"
            )


def _refuse_other_parts(step: InitStep, given: Mapping[str, Any], registers: Mapping[int, Tensor]) -> None:
    """Refuse to cut a tensor into other parts than have registers: each costs memory even without values."""
    if _signature(step.operator).results is not None:
        return
    tensor, dim = _value(given.get("self"), registers), given.get("dim", 0)
    if not isinstance(tensor, Tensor) or not isinstance(dim, int) or not -tensor.dim() <= dim < tensor.dim():
        raise GraphError(f"its operation {step.operator!r} has no such dimension to cut a tensor along")
    size = next((given[name] for name in ("split_size", "split_sizes", "sizes") if name in given), 1)
    if isinstance(size, tuple):
        parts = len(size)
    elif isinstance(size, int) and size > 0:
        parts = max(1, -(-tensor.shape[dim] // size)) if "split" in step.operator else tensor.shape[dim]
    else:
        parts = 1
    if parts != len(step.results):
        raise GraphError(f"its operation {step.operator!r} makes {parts:,} parts, not {len(step.results):,}")


def _refuse_traps(step: InitStep, given: Mapping[str, Any], registers: Mapping[int, Tensor]) -> None:
    """Refuse what torch does not check: bounds of random integers at which it counts without end, and a quotient.

    The lowest integer divided by -1, towards zero, has no value: the processor stops.
    """
    bounds = [given.get(name) for name in ("from", "to")]
    if step.operator.startswith("random_") and any(isinstance(n, int) and abs(n) > EXACT for n in bounds):
        raise GraphError(f"its operation {step.operator!r} has bounds beyond {EXACT:,}")
    if given.get("rounding_mode") != "trunc":
        return
    divisor = given.get("other")
    values = [_value(given.get("self"), registers), _value(divisor, registers)]
    if not all(_is_whole(value) for value in values):
        return
    if not isinstance(divisor, (int, Tensor)) or not bool(torch.as_tensor(divisor > 0).all()):
        raise GraphError(f"its operation {step.operator!r} divides integers towards zero by what may be -1")


def _is_whole(value: Any) -> bool:
    """Whether a value is of integers, as far as that is known."""
    if isinstance(value, Tensor):
        return not value.dtype.is_floating_point and not value.dtype.is_complex
    return not isinstance(value, (float, complex))


def _value(given: Any, registers: Mapping[int, Tensor]) -> Any:
    return registers.get(given.index) if isinstance(given, Register) else given
