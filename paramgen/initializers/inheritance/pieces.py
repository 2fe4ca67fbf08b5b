"""How some outputs of a slot are made of some outputs of a donor's slot: a map for each axis."""

from dataclasses import dataclass, replace
from math import prod, sqrt
from typing import Final, final

from paramgen.initializers.inheritance.axes import (
    OPERATORS,
    AxisMap,
    Operator,
    channels,
    colours,
    first_rows,
    query_rows,
    shared_rows,
    whole,
)
from paramgen.initializers.inheritance.network import OutputPart, SlotAxes
from paramgen.initializers.inheritance.resizing import KernelChange, allowed_kernel, grid_of, kernel_change

Shape = tuple[int, ...]
_POINTWISE: Final = frozenset(("linear", "conv", "dilated_conv"))


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """A table of positions of another resolution: sides of the squares, and the rows before them."""

    had: int
    now: int
    had_first: int
    now_first: int


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """Outputs `start` to `stop` of a slot, made of outputs `first` to `last` of the donor's slot `donor`.

    The shapes are of outputs, inputs and the kernel, in this order; of vectors and tables, as they are stored.
    """

    donor: str
    start: int
    stop: int
    first: int
    last: int
    axes: tuple[AxisMap, ...]
    kernel: tuple[int, ...] = ()  # the new one
    change: KernelChange = "none"
    grid: Grid | None = None
    factor: float = 1.0
    repeated: bool = False
    is_map: bool = False  # with the axes outputs and inputs, and a kernel

    @property
    def operators(self) -> tuple[Operator, ...]:
        """What is done, without `exact`; empty where nothing is."""
        done: set[Operator] = {each.operator for each in self.axes}
        if self.change != "none" or (self.grid is not None and self.grid.had != self.grid.now):
            done.add("resize")
        if self.repeated:
            done.add("repeat")
        return tuple(operator for operator in OPERATORS if operator in done and operator != "exact")

    @property
    def elements(self) -> int:
        """How many elements it fills."""
        kernel = prod(self.kernel)
        if self.grid is not None:
            rows = self.grid.now**2 + min(self.grid.had_first, self.grid.now_first)
            return rows * self.axes[-1].now
        return kernel * prod(len(each.known) for each in self.axes)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """A slot of mine and one of the donor's, with the outputs of each."""

    mine: SlotAxes
    theirs: SlotAxes
    shape: Shape  # of mine, as it is stored
    donor_shape: Shape
    donor: str
    part: OutputPart
    donor_part: OutputPart
    images: bool  # whether the network reads images, so that tables of positions are squares


def piece_of(sides: Sides, classes: AxisMap | None) -> Piece | None:
    """Return how the outputs are made; None where that is not known.

    Args:
        sides: Both slots.
        classes: The map of a head's rows; None where the donor's classes are others.

    """
    if sides.mine.use != sides.theirs.use:
        return None
    if sides.mine.use == "map":
        return _map_piece(sides, classes)
    if sides.mine.use == "table":
        return _table_piece(sides)
    return _vector_piece(sides, classes)


def _map_piece(sides: Sides, classes: AxisMap | None) -> Piece | None:
    mine, theirs = sides.mine, sides.theirs
    now, had = _normal(sides.shape, mine.in_out), _normal(sides.donor_shape, theirs.in_out)
    if mine.op == "linear" == theirs.op and (len(now) > 2 or len(had) > 2):
        return _stacked(sides)
    if mine.op != theirs.op and not {mine.op, theirs.op} <= _POINTWISE:
        return None
    kernel, before = now[2:], had[2:]
    if len(kernel) != len(before) and kernel and before:
        return None
    kernel, before = kernel or (1,) * len(before), before or (1,) * len(kernel)
    if not allowed_kernel(kernel) or not allowed_kernel(before):
        return None
    outputs = _outputs(sides, classes)
    if outputs is None:
        return None
    return replace(
        _piece(sides, (outputs, _inputs(mine, theirs, had[1], now[1]))),
        is_map=True,
        kernel=kernel,
        change=kernel_change(
            before, kernel, strides=(theirs.stride, mine.stride), patches=mine.patches and theirs.patches
        ),
        factor=_query_factor(sides),
    )


def _stacked(sides: Sides) -> Piece | None:
    """Return the piece of a stack of maps, such as experts: all as they are, or some of each."""
    if len(sides.shape) != len(sides.donor_shape):
        return None
    sizes = list(zip(sides.donor_shape, sides.shape, strict=True))
    if any(now > had for had, now in sizes):
        return None
    return _whole_piece(sides, tuple(channels(had, now) for had, now in sizes))


def _inputs(mine: SlotAxes, theirs: SlotAxes, had: int, now: int) -> AxisMap:
    if mine.mixed is not None and theirs.mixed is not None:
        return query_rows(theirs.mixed, mine.mixed, shared=True)
    if mine.stem and theirs.stem:
        return colours(had, now)
    if mine.op == "depthwise_conv" and had == now == 1:
        return whole(1)
    return channels(had, now, shared=True, pixels=mine.pixels if mine.pixels == theirs.pixels else 1)


def _outputs(sides: Sides, classes: AxisMap | None) -> AxisMap | None:
    """Return the map of the outputs of both parts; None where classes are others."""
    part, donor_part = sides.part, sides.donor_part
    had, now = donor_part.stop - donor_part.start, part.stop - part.start
    if "classes" in (part.outputs, donor_part.outputs):
        return classes if part.outputs == donor_part.outputs else None
    if "tokens" in (part.outputs, donor_part.outputs):
        return first_rows(had, now) if part.outputs == donor_part.outputs else None
    if part.outputs == donor_part.outputs and part.heads is not None and donor_part.heads is not None:
        rows = shared_rows if part.outputs in ("key", "value") else query_rows
        return rows(donor_part.heads, part.heads)
    return channels(had, now)


def _query_factor(sides: Sides) -> float:
    """Return the factor on queries of wider or narrower heads, so that scores stay as large as they were.

    A head that is `k` times as wide sums over `k` copies and divides by `k**0.5` more.
    """
    part, donor_part = sides.part, sides.donor_part
    if part.outputs != "query" or part.heads is None or donor_part.heads is None:
        return 1.0
    return sqrt(donor_part.heads.width / part.heads.width)


def _table_piece(sides: Sides) -> Piece | None:
    (had, wide), (now, width) = sides.donor_shape[:2], sides.shape[:2]
    if len(sides.shape) != 2 or len(sides.donor_shape) != 2:
        return None
    columns = channels(wide, width)
    if had != now and sides.images:
        grid = _grid(had, now)
        if grid is None or grid.had_first or grid.now_first:
            return None
        return replace(_piece(sides, (whole(now), columns)), grid=grid)
    return _piece(sides, (first_rows(had, now), columns))


def _vector_piece(sides: Sides, classes: AxisMap | None) -> Piece | None:
    shape, donor_shape = sides.shape, sides.donor_shape
    if sides.part.outputs != "channels" or sides.donor_part.outputs != "channels":
        outputs = _outputs(sides, classes)
        return None if outputs is None else replace(_piece(sides, (outputs,)), factor=_query_factor(sides))
    if len(shape) == len(donor_shape) == 3 and shape[0] == donor_shape[0] == 1 and shape[1] != donor_shape[1]:
        grid = _grid(donor_shape[1], shape[1])
        if grid is None:
            return None
        return replace(_whole_piece(sides, (whole(shape[1]), channels(donor_shape[2], shape[2]))), grid=grid)
    if not shape and not donor_shape:
        return _whole_piece(sides, (whole(1),))
    if len(shape) == len(donor_shape):
        return _whole_piece(sides, tuple(channels(had, now) for had, now in zip(donor_shape, shape, strict=True)))
    if prod(shape) == max(shape, default=1) and prod(donor_shape) == max(donor_shape, default=1):
        return _whole_piece(sides, (channels(prod(donor_shape), prod(shape)),))
    return None


def _grid(had: int, now: int) -> Grid | None:
    before, after = grid_of(had), grid_of(now)
    if before is None or after is None:
        return None
    return Grid(had=before[0], now=after[0], had_first=before[1], now_first=after[1])


def _piece(sides: Sides, axes: tuple[AxisMap, ...]) -> Piece:
    part, donor_part = sides.part, sides.donor_part
    return Piece(
        donor=sides.donor,
        start=part.start,
        stop=part.stop,
        first=donor_part.start,
        last=donor_part.stop,
        axes=axes,
    )


def _whole_piece(sides: Sides, axes: tuple[AxisMap, ...]) -> Piece:
    """Return the piece of slots that are taken as a whole, whatever their first axis is."""
    size, donor_size = axes[0].now, axes[0].had
    return Piece(donor=sides.donor, start=0, stop=size, first=0, last=donor_size, axes=axes)


def _normal(shape: Shape, in_out: bool) -> Shape:
    """Return a map's shape with outputs first."""
    return (shape[1], shape[0], *shape[2:]) if in_out and len(shape) >= 2 else shape
