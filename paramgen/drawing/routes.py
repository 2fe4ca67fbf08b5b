"""Lanes for the wires that do not run straight: between the columns, and in a channel above them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from paramgen.drawing.columns import FOOT, FRAME_HEAD, GUTTER, MAX_TRACKS, TRACK
from paramgen.drawing.interior import Interior
from paramgen.drawing.vertices import Point

LANE: Final = 7.0


@dataclass(frozen=True, slots=True)
class Link:
    """One box feeding one port of another frame."""

    source: int
    start: int  # the frame of the source
    end: int
    port: int

    def straight(self, column: Sequence[int]) -> bool:
        """Whether the frames follow each other in one column."""
        return self.end == self.start + 1 and column[self.start] == column[self.end]


@dataclass(frozen=True, slots=True)
class Routes:
    """Which lane of which gutter a source has. Gutter n lies left of column n; heights are those of the columns."""

    column: Sequence[int]
    exits: Mapping[int, float]  # source → the height of the track below its frame
    entries: Mapping[tuple[int, int], float]  # frame and port → the height of the track above it
    lanes: Mapping[tuple[int, int], int]  # gutter and source → lane
    counts: Mapping[int, int]  # gutter → lanes
    channel: Mapping[int, int]  # source → track above all columns
    tracks: int

    def path(self, link: Link, ends: tuple[Point, Point], gutters: Sequence[float], down: float) -> tuple[Point, ...]:
        """Return the path of one wire, corner by corner; `down` is where the columns begin."""
        (x, y), (far_x, far_y) = ends
        leave, enter = self.exits[link.source] + down, self.entries[link.end, link.port] + down
        near = self.column[link.start] + 1
        lane = gutters[near] + LANE * self.lanes[near, link.source]
        corners = [(x, y), (x, leave), (lane, leave)]
        if (far := self.column[link.end]) > near:
            above = down - GUTTER / 2 - LANE * (self.channel[link.source] + 0.5)
            lane_there = gutters[far] + LANE * self.lanes[far, link.source]
            corners += [(lane, above), (lane_there, above), (lane_there, enter)]
        else:
            corners.append((lane, enter))
        return (*corners, (far_x, enter), (far_x, far_y))


def plan(links: Sequence[Link], column: Sequence[int], interiors: Sequence[Interior], tops: Sequence[float]) -> Routes:
    """Give every wire its lanes: one per source and gutter, shared where their stretches do not meet."""
    exits = {link.source: _below(interiors[link.start], tops[link.start], link.source) for link in links}
    entries = {(link.end, link.port): _above(interiors[link.end], tops[link.end], link.port) for link in links}
    stretches: dict[tuple[int, int], list[float]] = {}
    channel: dict[tuple[int, int], list[float]] = {}
    for link in links:
        near, far = column[link.start] + 1, column[link.end]
        stretches.setdefault((near, link.source), []).append(exits[link.source])
        stretches.setdefault((max(near, far), link.source), []).append(entries[link.end, link.port])
        if far > near:
            channel.setdefault((0, link.source), []).extend((float(near), float(far)))
            stretches[near, link.source].append(-1.0)
            stretches[far, link.source].append(-1.0)
    lanes, counts = _assigned(stretches)
    tracks, number = _assigned(channel)
    above = {source: track for (_, source), track in tracks.items()}
    return Routes(column, exits, entries, lanes, counts, above, number.get(0, 0))


def _assigned(stretches: Mapping[tuple[int, int], list[float]]) -> tuple[dict[tuple[int, int], int], dict[int, int]]:
    """Colour intervals greedily: the first lane that is free again. Returns lane per key, lanes per group."""
    lanes: dict[tuple[int, int], int] = {}
    free: dict[int, list[float]] = {}
    for key in sorted(stretches, key=lambda key: (key[0], min(stretches[key]), max(stretches[key]), key[1])):
        ends = free.setdefault(key[0], [])
        lane = next((lane for lane, end in enumerate(ends) if end < min(stretches[key])), len(ends))
        ends[lane : lane + 1] = [max(stretches[key])]
        lanes[key] = lane
    return lanes, {group: len(ends) for group, ends in free.items()}


def _below(it: Interior, top: float, source: int) -> float:
    place = it.exits[source] - min(it.exits.values())
    return top + it.layout.height + (FOOT if it.frame.framed else 2) + TRACK * (place % MAX_TRACKS + 0.5)


def _above(it: Interior, top: float, port: int) -> float:
    return top - (FRAME_HEAD if it.frame.framed else 2) - TRACK * (port % MAX_TRACKS + 0.5)
