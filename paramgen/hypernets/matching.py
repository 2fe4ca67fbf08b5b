"""Which shared weight each piece of a network gets: its own place's, or the nearest that there is."""

import re
from collections.abc import Collection, Mapping
from math import log
from typing import Final

from paramgen.graphs.analysis.places import Piece, Place

_SHIFTS: Final = (0, 1, -1, 2, -2)
_WORTH: Final = 1.5  # a move must find so many times as much: where a stem fits, the scales behind it do
_SCALE: Final = re.compile(r"@(\d+)")
_TOKENS: Final = re.compile(r"@[a-z]")
_STEM: Final = re.compile(r"stem(\d+)by(\d+)")

Matches = dict[str, list[tuple[Piece, str]]]
"""By slot: its pieces and the names of their shared weights; pieces and slots without one are left out."""


def shared_name(name: str, place: Place, *, token_steps: int, image_steps: int) -> str:
    """Return the name of the shared weight of a piece called `name`: the place's nearest step of the depth decides."""
    steps = token_steps if _TOKENS.search(name) else image_steps
    return f"{name}/{round(place.depth * (steps - 1))}:{place.part}"


def matched(places: Mapping[str, Place], known: Collection[str], *, token_steps: int, image_steps: int) -> Matches:
    """Return the shared weights of all places.

    A network whose images are smaller or larger than those of training has its blocks at other scales: all of them
    are moved by the same number of halvings, if that finds far more than moving none. A stem of a size that was never
    trained gets the nearest one.
    """
    stems = sorted({name.partition("/")[0] for name in known if _STEM.match(name)})

    def fitting(place: Place, shift: int) -> list[tuple[Piece, str]]:
        names = ((piece, _moved(piece.name, shift, stems)) for piece in place.pieces)
        wanted = (
            (piece, shared_name(name, place, token_steps=token_steps, image_steps=image_steps)) for piece, name in names
        )
        return [(piece, name) for piece, name in wanted if name in known]

    found = [{slot: pieces for slot, place in places.items() if (pieces := fitting(place, shift))} for shift in _SHIFTS]
    best = max(found, key=_scaled)
    return best if _scaled(best) > _WORTH * _scaled(found[0]) else found[0]


def _scaled(matches: Matches) -> int:
    """Return how many slots were found at a scale of the image."""
    return sum(bool(_SCALE.search(pieces[0][1])) for pieces in matches.values())


def _moved(name: str, shift: int, stems: list[str]) -> str:
    """Return the name of a piece at a scale so many halvings away, or of the nearest stem."""
    stem = _STEM.fullmatch(name)
    if stem is None:
        return _SCALE.sub(lambda match: f"@{int(match[1]) + shift}", name)
    if name in stems or not stems:
        return name

    def distance(other: str) -> float:
        sizes = _STEM.fullmatch(other)
        assert sizes is not None
        return sum(abs(log(int(mine) / int(its))) for mine, its in zip(stem.groups(), sizes.groups(), strict=True))

    return min(stems, key=distance)
