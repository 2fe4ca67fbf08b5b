"""What a library's own constructor draws for one slot: a small program of tensor operations.

A network is built once, on the meta device, while every tensor operation of its constructor is recorded
(`paramgen.architectures.recorder`; the idea is torchdistX's deferred initialization). The steps that lead to one
slot are its *draw*. Replaying a draw allocates that slot and its intermediate values, nothing else, and takes its
randomness from a generator of its own: the distribution is the library's, the bytes depend on seed and name only.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from paramgen.errors import GraphError


@final
@dataclass(frozen=True, slots=True)
class Register:
    """A reference to a tensor that an earlier step made."""

    index: int


@final
@dataclass(frozen=True, slots=True)
class Step:
    """One operation: `operator` is `packet.overload` of `torch.ops.aten`; tensors in it are constants."""

    operator: str
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    results: tuple[int | None, ...]  # the registers that its tensor results go to


@final
@dataclass(frozen=True, slots=True)
class Draw:
    """The steps that make a slot's start; the slot is a strided view of register `result`."""

    steps: tuple[Step, ...]
    result: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    kept: bool = False  # a live module's own value, which no library drew anew

    @property
    def random(self) -> bool:
        """Whether any step takes random numbers."""
        return any(torch.Tag.nondeterministic_seeded in operator_of(step).tags for step in self.steps)

    def __call__(self, generator: torch.Generator) -> Tensor:
        """Replay the steps on the generator's device and return the slot's start."""
        registers = self.run(generator.device, generator)
        value = registers[self.result]
        if (tuple(value.shape), value.stride(), value.storage_offset()) == (self.size, self.stride, self.offset):
            return value
        return value.as_strided(self.size, self.stride, self.offset)

    def run(
        self, device: torch.device, generator: torch.Generator | None, given: Mapping[int, Tensor] | None = None
    ) -> dict[int, Tensor]:
        """Run every step, from `given` registers if any, and return all registers."""
        registers = dict(given or {})
        for step in self.steps:
            arguments = tuple(_resolve(value, registers, device) for value in step.arguments)
            keywords = {name: _resolve(value, registers, device) for name, value in step.keywords.items()}
            outcome = _call(operator_of(step), arguments, keywords, device, generator)
            results = outcome if isinstance(outcome, (tuple, list)) else (outcome,)
            for register, result in zip(step.results, results, strict=True):
                if register is not None:
                    registers[register] = result
        return registers


def kept(value: Tensor) -> Draw:
    """Return the draw of a slot that keeps the value it has."""
    step = Step("clone.default", (value.detach(),), {"memory_format": torch.contiguous_format}, (0,))
    return Draw((step,), 0, tuple(value.shape), value.contiguous().stride(), 0, kept=True)


def slot_generator(seed: int, name: str, *, stream: str = "") -> torch.Generator:
    """Return the generator of one slot: seed, name and stream decide, order and position do not."""
    digest = hashlib.blake2b(f"{seed}\0{name}\0{stream}".encode(), digest_size=8).digest()
    # torch takes signed 64-bit seeds: drop one bit.
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little") >> 1)


def operator_of(step: Step) -> Any:
    """Look the step's operator up among `torch.ops.aten`."""
    packet, _, overload = step.operator.partition(".")
    try:
        return getattr(getattr(torch.ops.aten, packet), overload)
    except AttributeError as error:
        raise GraphError(f"Unknown tensor operation {step.operator!r} in a slot's draw.") from error


def _call(
    operator: Any,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    device: torch.device,
    generator: torch.Generator | None,
) -> Any:
    accepted = {argument.name for argument in operator._schema.arguments}
    if "device" in accepted:
        keywords["device"] = device
    if torch.Tag.nondeterministic_seeded in operator.tags and generator is not None:
        if "generator" not in accepted:
            operator = operator.overloadpacket.generator
        keywords["generator"] = generator
    return operator(*arguments, **keywords)


def _resolve(value: Any, registers: Mapping[int, Tensor], device: torch.device) -> Any:
    if isinstance(value, Register):
        return registers[value.index]
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, (tuple, list)):
        return [_resolve(item, registers, device) for item in value]
    return value
