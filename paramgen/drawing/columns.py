"""Frames stacked in columns: where each begins, which modules are drawn around it, and where the columns break."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Final

from paramgen.drawing.frames import Path
from paramgen.drawing.interior import Interior

ASPECT: Final = 1.55
FRAME_HEAD: Final = 20.0
FOOT: Final = 12.0
SIDE: Final = 12.0
NEST: Final = 10.0
BETWEEN: Final = 16.0
TRACK: Final = 6.0
MAX_TRACKS: Final = 14
GUTTER: Final = 22.0
MAX_DRAWN_COLUMNS: Final = 200
SMALL_HEIGHT: Final = 170.0
LETTER: Final = 6.7
MAX_HEADING: Final = 26
"""Letters of a heading that get room left of the axis, so that no wire crosses them."""


@dataclass(frozen=True, slots=True)
class Rect:
    """A background with a label: a frame or, with a lower `level`, a module around frames."""

    module: Path
    label: str
    level: int
    framed: bool
    top: float
    bottom: float
    left: float = 0.0
    right: float = 0.0


@dataclass(frozen=True, slots=True)
class Stack:
    """One column: its frames, the top of each one's boxes, the rectangles, and its extent around its axis."""

    frames: range
    tops: tuple[float, ...]
    rects: tuple[Rect, ...]
    left: float
    right: float
    height: float


def stacks(interiors: Sequence[Interior]) -> list[Stack]:
    """Cut the frames into columns so that the page comes nearest to its aspect."""
    sizes = [it.layout.height + FRAME_HEAD + FOOT + BETWEEN + TRACK * (above(it) + below(it)) for it in interiors]
    chunks = _chunks(interiors, sizes)
    tried: dict[int, list[Stack]] = {}

    def aspect(number: int) -> float:
        columns = _balanced([sum(sizes[index] for index in chunk) for chunk in chunks], number)
        frames = [range(chunks[column.start].start, chunks[column.stop - 1].stop) for column in columns]
        tried[number] = [_stack(interiors, column) for column in frames]
        return sum(c.left + c.right + 2 * GUTTER for c in tried[number]) / max(c.height for c in tried[number])

    # More columns make a wider page: the best number is where the aspect is passed, or one less.
    low, high = 1, min(len(chunks), MAX_DRAWN_COLUMNS)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if aspect(middle) < ASPECT else (low, middle)
    return tried[min({low, max(low - 1, 1)}, key=lambda number: abs(log(aspect(number) / ASPECT)))]


def above(it: Interior) -> int:
    """Return how many tracks for wires a frame has above it."""
    return min(len(it.entries), MAX_TRACKS)


def below(it: Interior) -> int:
    """Return how many tracks for wires a frame has below it."""
    return min(len(it.exits), MAX_TRACKS)


def _stack(interiors: Sequence[Interior], column: range) -> Stack:
    y = 0.0
    tops: list[float] = []
    rects: list[Rect] = []
    opened: list[tuple[Path, float]] = []
    for it in (interiors[index] for index in column):
        around = it.frame.around
        shared = _common([path for path, _ in opened], around)
        while len(opened) > shared:
            y += FOOT
            rects.append(_around(opened.pop(), len(opened), y))
        y += BETWEEN if tops else 0
        for path in around[shared:]:
            opened.append((path, y))
            y += FRAME_HEAD
        y += TRACK * above(it)
        top = y
        y += FRAME_HEAD if it.frame.framed else 2
        tops.append(y)
        y += it.layout.height + (FOOT if it.frame.framed else 2)
        if it.frame.framed:
            rects.append(Rect(it.frame.module, _label(it.frame.module, around), len(around), True, top, y))
        y += TRACK * below(it)
    while opened:
        y += FOOT
        rects.append(_around(opened.pop(), len(opened), y))
    return _aligned(interiors, column, tops, rects, y)


def _aligned(
    interiors: Sequence[Interior], column: range, tops: list[float], rects: list[Rect], height: float
) -> Stack:
    """Give all rectangles of a column the width of its widest frame; those inside are narrower by their level."""
    deepest = max((rect.level for rect in rects), default=0)
    heading = max(
        (min(len(r.label), MAX_HEADING) * LETTER - NEST * (deepest - r.level) + 8 for r in rects), default=0.0
    )
    left = max(heading, *(interiors[index].layout.left for index in column)) + SIDE + NEST * deepest
    right = max(interiors[index].layout.right for index in column) + SIDE + NEST * deepest
    wide = [
        Rect(r.module, r.label, r.level, r.framed, r.top, r.bottom, NEST * r.level - left, right - NEST * r.level)
        for r in sorted(rects, key=lambda rect: (rect.level, rect.top))
    ]
    return Stack(column, tuple(tops), tuple(wide), left, right, height)


def _around(opened: tuple[Path, float], level: int, y: float) -> Rect:
    path, top = opened
    return Rect(path, ".".join(path), level, False, top, y)


def _common(a: list[Path], b: tuple[Path, ...]) -> int:
    """Return how many modules two nests share, from the outside."""
    return next((depth for depth, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _label(module: Path, around: tuple[Path, ...]) -> str:
    """Return the name of a frame: in full where it is short, else from the last module drawn around it."""
    full = ".".join(module)
    return full if len(full) <= 24 or not around else ".".join(module[len(around[-1]) :])


def _chunks(interiors: Sequence[Interior], sizes: list[float]) -> list[range]:
    """Return the frames that stay together: what is small and without a frame keeps with the next, or the last."""
    starts, small = [0], 0.0
    for index in range(1, len(interiors)):
        loose = not interiors[index - 1].frame.framed
        small = small + sizes[index - 1] if loose else SMALL_HEIGHT
        if small >= SMALL_HEIGHT and not (index == len(interiors) - 1 and _is_small(interiors[index], sizes[index])):
            starts.append(index)
            small = 0.0
    return [range(a, b) for a, b in zip(starts, [*starts[1:], len(interiors)], strict=True)]


def _is_small(it: Interior, size: float) -> bool:
    return not it.frame.framed and size < SMALL_HEIGHT


def _balanced(sizes: list[float], number: int) -> list[range]:
    """Fill `number` columns in order so that the tallest is as short as possible (a binary search over its height)."""
    low, high = max(sizes), sum(sizes)
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (low, middle) if len(_filled(sizes, middle)) <= number else (middle, high)
    return _filled(sizes, high)


def _filled(sizes: list[float], limit: float) -> list[range]:
    starts, used = [0], 0.0
    for index, size in enumerate(sizes):
        if used and used + size > limit:
            starts.append(index)
            used = 0.0
        used += size
    return [range(a, b) for a, b in zip(starts, [*starts[1:], len(sizes)], strict=True)]
