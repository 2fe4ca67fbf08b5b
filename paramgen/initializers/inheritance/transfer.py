"""The values of a slot that inherits: the donor's tensors are read one at a time, and each piece is made of them."""

from collections.abc import Callable
from itertools import groupby
from typing import Final

import torch
from torch import Tensor

from paramgen.initializers.inheritance.axes import AxisMap
from paramgen.initializers.inheritance.network import SlotAxes
from paramgen.initializers.inheritance.pieces import Piece
from paramgen.initializers.inheritance.plan import InheritancePlan
from paramgen.initializers.inheritance.resizing import resized_grid, resized_kernel
from paramgen.slots.init_program import one_thread, slot_generator
from paramgen.slots.manifest import Slot

_AT_ONCE: Final = 1 << 21
"""Elements whose copies are told apart at a time."""


@torch.no_grad()
@one_thread()  # sums would depend on their number
def inherited(plan: InheritancePlan, slot: Slot, default: Callable[[], Tensor], *, seed: int, noise: float) -> Tensor:
    """Return the values of a slot.

    Args:
        plan: Has an entry for the slot.
        slot: The slot.
        default: Its default initialization, for elements that take nothing.
        seed: Of the noise that tells copies apart.
        noise: Its standard deviation, as a multiple of the weights' own.

    """
    pieces, axes = plan.pieces[slot.name], plan.network.axes[slot.name]
    whole = plan.covered(slot) == slot.elements
    values = torch.empty(slot.shape, dtype=slot.dtype) if whole else default().clone()
    stored = values.reshape(1) if values.dim() == 0 else values
    outputs = stored.transpose(0, 1) if _turned(axes, pieces[0]) else stored
    generator = slot_generator(seed, f"{slot.name}/copies")
    for donor_slot, some in groupby(pieces, key=lambda piece: piece.donor):
        read = plan.donor.tensor(donor_slot)
        turned = _turned(plan.donor.network.axes[donor_slot], pieces[0])
        for piece in some:
            made = None if piece.grid is not None else _made(read, piece, turned=turned)
            if made is None:
                _write_grid(stored, read, piece)
                continue
            _tell_apart(made, piece, noise, generator)
            _write(outputs, made, piece)
        del read
    return values


def _turned(axes: SlotAxes, piece: Piece) -> bool:
    """Whether a slot is stored with its inputs first; a stack of maps is taken as it is."""
    return axes.in_out and axes.use == "map" and piece.is_map


def _made(read: Tensor, piece: Piece, *, turned: bool) -> Tensor:
    """Return the values of the known indices of a piece, outputs first."""
    values = read.transpose(0, 1) if turned else read
    if not piece.is_map and values.dim() != len(piece.axes):
        values = values.reshape(-1)
    values = values[piece.first : piece.last]
    for axis, each in sorted(enumerate(piece.axes), key=lambda pair: pair[1].now - pair[1].had):
        values = each.taken(values, axis)  # what shrinks comes first
    if piece.change != "none":
        values = values.reshape(*values.shape[:2], *(values.shape[2:] or (1,) * len(piece.kernel)))
        values = resized_kernel(values, piece.kernel, piece.change)
    return values if piece.factor == 1.0 else values.float() * piece.factor


def _write(outputs: Tensor, made: Tensor, piece: Piece) -> None:
    there = outputs[piece.start : piece.stop]
    partial = [(axis, each) for axis, each in enumerate(piece.axes) if len(each.known) != each.now]
    if not partial:
        there.copy_(made.reshape(there.shape))
        return
    (axis, each) = partial[0]
    there.index_copy_(axis, each.known, made.reshape(*there.shape[:axis], -1, *there.shape[axis + 1 :]).to(there.dtype))


def _write_grid(values: Tensor, read: Tensor, piece: Piece) -> None:
    """Write a table of positions: the square is scaled, the rows before it are taken in order."""
    grid, width = piece.grid, piece.axes[-1]
    assert grid is not None
    table, before = values.reshape(-1, values.shape[-1]), read.reshape(-1, read.shape[-1])
    before = width.taken(before, 1)
    first = min(grid.had_first, grid.now_first)
    table[:first] = before[:first]
    table[grid.now_first :] = resized_grid(before[grid.had_first :], grid.now)


def _tell_apart(made: Tensor, piece: Piece, noise: float, generator: torch.Generator) -> None:
    """Add noise to weights that read copies, which cancels out as long as the copies are equal.

    So the network computes what it did, but copies learn differently (HyperCloning; Samragh et al., 2024,
    arXiv:2409.12903).
    """
    each = piece.axes[1] if piece.is_map else None
    if not noise or each is None or each.copies == 1 or not made.numel():
        return
    if not made.is_floating_point() or made.dtype not in (torch.float32, torch.float64):
        return
    std = float(made.std()) * noise if made.numel() > 1 else 0.0
    rows = max(1, _AT_ONCE // max(1, made[0].numel()))
    for begin in range(0, len(made), rows):
        some = made[begin : begin + rows]
        some += std * _balanced(torch.randn(some.shape, generator=generator), each)


def _balanced(drawn: Tensor, each: AxisMap) -> Tensor:
    """Return the noise minus its mean over the copies of each of the donor's indices."""
    source = each.sources[0]
    counts = torch.bincount(source, minlength=each.had).clamp(min=1)
    sums = torch.zeros(drawn.shape[0], each.had, *drawn.shape[2:]).index_add_(1, source, drawn)
    means = sums / counts.view(1, -1, *[1] * (drawn.dim() - 2))
    return drawn - means.index_select(1, source)
