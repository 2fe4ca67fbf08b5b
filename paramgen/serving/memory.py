"""How much memory the machine has, and how much a prediction takes at its peak, computed before its first tensor."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from paramgen.initializers.library import KEPT, LIBRARY, PLAIN
from paramgen.prediction import Prediction
from paramgen.registry.chains import split_chain
from paramgen.slots.init_program import InitProgram, registers_of
from paramgen.slots.manifest import Slot
from paramgen.slots.torch_internals import storage_key

BASE: Final = 128 * 2**20  # what any prediction may take besides its tensors
# How many times its own size a slot takes while an initializer makes it, measured on matrices of 16, 64 and 411 MB and
# rounded up. Other initializers are counted with OTHERS.
COPIES: Final = {"he": 3, "xavier": 3, "hypernet": 3, "idinit": 7, "lir": 7, "lsuv": 8, "orthogonal": 8}
OTHERS: Final = 8
CHANGED: Final = 16  # with modifiers, which compute in double precision
DECODED: Final = 512 * 2**20  # of a hypernet: one batch, and what decoders make meanwhile
_CGROUP: Final = Path("/sys/fs/cgroup")


def machine_memory() -> int | None:
    """Return the bytes of memory that this process may take by its control group, or the machine has; None: unknown."""
    found = [_number(file) for file in _limits()]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min((number for number in found if number is not None and number > 0), default=None)


def _limits() -> Iterator[Path]:
    """Yield the files that may limit this process: its group's, and those of the groups around it (v2, then v1)."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers in ("", "memory"):
            own = Path(path.lstrip("/"))
            for group in (own, *own.parents):
                yield _CGROUP / group / "memory.max"
                yield _CGROUP / "memory" / group / "memory.limit_in_bytes"
    yield _CGROUP / "memory.max"  # in a container, the group has another name inside
    yield _CGROUP / "memory" / "memory.limit_in_bytes"


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # it is not there, or says "max"
        return None


def peak_memory(prediction: Prediction) -> int:
    """Return about how many bytes a prediction takes at its peak.

    At the peak, memory holds the slot that is being made, with the temporary values of its init program or rule, and
    the slot before it, as made and as written. Where the initializer runs the network, it holds all slots.
    """
    filled = prediction.architecture.manifest.filled
    first, then = split_chain(prediction.resolved_init)
    init = first.partition("?")[0].partition(":")[0]
    copies = max(COPIES.get(init, OTHERS), CHANGED if then else 0)
    made = max((_peak_of(prediction, slot, copies) for slot in filled), default=0)
    written = sorted((_bytes(slot, slot.dtype) + _converted(prediction, slot) for slot in filled), reverse=True)
    converted = max((_converted(prediction, slot) for slot in filled), default=0)
    whole = sum(_bytes(slot, slot.dtype) for slot in filled) if prediction.initializer.runs_network else 0
    decoded = DECODED if init in ("hypernet", "diffusion") else 0
    return BASE + made + converted + sum(written[1:2]) + 2 * whole + decoded


def _peak_of(prediction: Prediction, slot: Slot, copies: int) -> int:
    rule = prediction.rules[slot.name]
    if rule in (LIBRARY, KEPT, PLAIN):
        return _bytes(slot, slot.dtype) if slot.program is None else program_memory(slot.program)
    wide = max(slot.dtype.itemsize, torch.float32.itemsize)  # the dtype in which it is computed
    return copies * slot.elements * wide


def _bytes(slot: Slot, dtype: torch.dtype) -> int:
    return slot.elements * dtype.itemsize


def _converted(prediction: Prediction, slot: Slot) -> int:
    """Return the bytes of a slot as it is written, where that is another tensor than the one that is made."""
    dtype = prediction.dtype_of(slot)
    return 0 if dtype == slot.dtype else _bytes(slot, dtype)


def program_memory(program: InitProgram) -> int:
    """Return how many bytes an init program takes at its peak: live values and one operation's own copy."""
    if program.piecewise:
        dtype = program.steps[0].keywords.get("dtype") or torch.float32
        return int(torch.Size(program.size).numel()) * dtype.itemsize
    last = {register: index for index, step in enumerate(program.steps) for register in registers_of(step)}
    alive: dict[int, int] = {}  # register -> storage
    users: Counter[int] = Counter()
    sizes: dict[int, int] = {}
    total = peak = largest = 0

    def drop(register: int) -> int:
        storage = alive.pop(register, None)
        if storage is None:
            return 0
        users[storage] -= 1
        return sizes.pop(storage) if users[storage] == 0 else 0

    for index, (step, registers) in enumerate(program.replay(torch.device("meta"), None)):
        constants = sum(value.nbytes for value in step.arguments if isinstance(value, Tensor))
        touched = registers_of(step)
        for register in touched & registers.keys():
            storage = registers[register].untyped_storage()
            key = storage_key(storage)
            if alive.get(register) == key:
                continue
            total -= drop(register)
            alive[register] = key
            users[key] += 1
            if key not in sizes:
                sizes[key] = storage.nbytes()
                total += storage.nbytes()
                largest = max(largest, storage.nbytes())
        peak = max(peak, total + constants)
        total -= sum(drop(register) for register in touched if last[register] == index and register != program.result)
    return peak + largest
