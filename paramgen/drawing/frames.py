"""Which boxes share a frame: repeated modules (`layer1.0`, `encoder.layers.3`) and small ones; long runs are cut."""

import re
from dataclasses import dataclass
from typing import Final

from paramgen.drawing.boxes import Sketch

Path = tuple[str, ...]

MAX_MODULE: Final = 48
"""A module with more boxes is never one frame."""
MAX_FRAME: Final = 30
"""A frame with more boxes is cut, at the place that the fewest edges cross."""
MIN_FRAME: Final = 3
"""A module with fewer boxes is drawn in its parent, without a frame of its own."""
MAX_FRAMES_WITHIN: Final = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """Consecutive boxes of one module; `around` are the modules drawn around it, outermost first."""

    module: Path
    framed: bool
    boxes: tuple[int, ...]
    around: tuple[Path, ...] = ()


def frames(sketch: Sketch) -> list[Frame]:
    """Return the frames in forward order; every box is in exactly one."""
    chosen = _chosen(sketch)
    holders = frozenset(path[:depth] for path in chosen for depth in range(len(path)))
    runs: list[tuple[Path, bool, list[int]]] = []
    for index, box in enumerate(sketch.boxes):
        path = next((box.module[:depth] for depth in range(1, len(box.module) + 1) if box.module[:depth] in chosen), ())
        framed = bool(path)
        home = path if framed else _loose_home(box.module, holders)
        if not runs or runs[-1][:2] != (home, framed):
            runs.append((home, framed, []))
        runs[-1][2].append(index)
    parts = [
        Frame(home, framed and len(run) > 1, tuple(part)) for home, framed, run in runs for part in _cut(run, sketch)
    ]
    return _nested(parts)


def _chosen(sketch: Sketch) -> frozenset[Path]:
    """Return the modules that get a frame: the largest that are small enough and do not hold repeated blocks."""
    inside: dict[Path, list[int]] = {}
    for index, box in enumerate(sketch.boxes):
        for depth in range(len(box.module) + 1):
            inside.setdefault(box.module[:depth], []).append(index)
    children: dict[Path, list[Path]] = {}
    for path in inside:
        if path:
            children.setdefault(path[:-1], []).append(path)
    repeating = {path for path in children if _repeats([(c[-1], inside[c]) for c in children[path]], sketch)}
    holders = {path[:depth] for path in repeating for depth in range(len(path) + 1)}
    chosen, pending = set(), list(children.get((), []))
    while pending:
        path = pending.pop()
        if len(inside[path]) > MAX_MODULE or path in holders:
            pending += children.get(path, [])
        elif len(inside[path]) >= MIN_FRAME:
            chosen.add(path)
    return frozenset(chosen)


def _repeats(children: list[tuple[str, list[int]]], sketch: Sketch) -> bool:
    """Children that differ by a number, hold several boxes each and follow each other are blocks, framed one by one.

    Branches (`branch1`, `branch2`) have such names too, but no path leads from one to the next.
    """
    last: dict[str, list[int]] = {}
    for name, inside in children:
        if len(inside) > MIN_FRAME and name[-1].isdigit():
            stem = re.sub(r"\d+", "#", name)
            if stem in last and any(sketch.joined(a, b) for a in last[stem][:1] for b in inside[-1:]):
                return True
            last[stem] = inside
    return False


def _loose_home(module: Path, holders: frozenset[Path]) -> Path:
    """Return the deepest module around a box without a frame that also holds frames, so that stems stay together."""
    return next((module[:depth] for depth in range(len(module), 0, -1) if module[:depth] in holders), ())


def _cut(run: list[int], sketch: Sketch) -> list[list[int]]:
    """Cut a long run into parts of about equal length, each near the fewest edges that cross the cut."""
    parts = -(-len(run) // MAX_FRAME)
    if parts == 1:
        return [run]
    place = {box: position for position, box in enumerate(run)}
    change = [0] * (len(run) + 1)
    for a, b in sketch.edges:
        if a in place and b in place:
            change[place[a] + 1] += 1
            change[place[b] + 1] -= 1
    crossing = [sum(change[:1])]
    for step in change[1:]:
        crossing.append(crossing[-1] + step)
    cuts = [0]
    for part in range(1, parts):
        ideal = len(run) * part // parts
        near = range(max(cuts[-1] + 1, ideal - 5), min(len(run) - 1, ideal + 5) + 1)
        cuts.append(min(near, key=lambda cut: (crossing[cut], abs(cut - ideal))))
    return [run[a:b] for a, b in zip(cuts, [*cuts[1:], len(run)], strict=True)]


def _nested(parts: list[Frame]) -> list[Frame]:
    """Give every frame the modules to draw around it, the outermost two of those worth drawing."""
    holds: dict[Path, list[int]] = {}
    for place, part in enumerate(parts):
        for path in _prefixes(part):
            holds.setdefault(path, []).append(place)
    # Worth drawing are modules of two frames or more in one stretch, ...
    worth = {path: held for path, held in holds.items() if 2 <= len(held) == held[-1] - held[0] + 1}
    for path in sorted(worth, key=len, reverse=True):
        deeper = [other for other in worth if len(other) > len(path) and other[: len(path)] == path]
        # ... but not what holds nearly everything, or the same frames as a module inside it.
        most = len(worth[path]) >= 0.85 * len(parts) or any(worth[other] == worth[path] for other in deeper)
        if deeper and most:
            del worth[path]
    return [
        Frame(
            part.module, part.framed, part.boxes, tuple([p for p in _prefixes(part) if p in worth][:MAX_FRAMES_WITHIN])
        )
        for part in parts
    ]


def _prefixes(part: Frame) -> list[Path]:
    """Return the modules that may be drawn around a frame, outermost first."""
    depth = len(part.module) - 1 if part.framed else len(part.module)
    return [part.module[:length] for length in range(1, depth + 1)]
