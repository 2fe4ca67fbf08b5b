"""Which shared weight each slice of a network is cut from: the one at its own address, or the nearest that there is."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from math import log
from typing import Final

from paramgen.graphs.analysis.address import Address
from paramgen.graphs.analysis.addressed_slots import AddressedSlot, Slice

_SHIFTS: Final = (0, 1, -1, 2, -2)
_WORTH: Final = 1.5  # a shift must find so many times as much: where a stem fits, the scales behind it do

Matches = dict[str, list[tuple[Slice, Address]]]
"""By slot: its slices and the addresses of their shared weights; slices and slots without one are left out."""


def shared_address(address: Address, depth: float, *, token_steps: int, image_steps: int) -> Address:
    """Return the address of the shared weight for one of a network: that of the nearest step of the depth.

    Args:
        address: The weight's own.
        depth: How far along the depth of its network the weight is, from 0 to 1.
        token_steps: Steps of the depth that have shared weights of their own, among tokens.
        image_steps: The same, at one scale of an image.

    """
    steps = token_steps if address.among_tokens else image_steps
    return replace(address, depth_index=round(depth * (steps - 1)))


def match_addresses(
    slots: Mapping[str, AddressedSlot], known: Collection[Address], *, token_steps: int, image_steps: int
) -> Matches:
    """Return the shared weights of all slots.

    A network whose images are smaller or larger than those of training has its blocks at other scales: all of them
    are shifted by the same number of halvings, if that finds far more than no shift. A stem of a size that was never
    trained gets the nearest one.
    """
    stems = sorted({address.function for address in known if address.stem is not None})

    def fitting(slot: AddressedSlot, shift: int) -> list[tuple[Slice, Address]]:
        wanted = (
            (
                part,
                shared_address(
                    _shifted(part.address, shift, stems), slot.depth, token_steps=token_steps, image_steps=image_steps
                ),
            )
            for part in slot.slices
        )
        return [(part, address) for part, address in wanted if address in known]

    found = [{name: parts for name, slot in slots.items() if (parts := fitting(slot, shift))} for shift in _SHIFTS]
    best = max(found, key=_at_scales)
    return best if _at_scales(best) > _WORTH * _at_scales(found[0]) else found[0]


def _at_scales(matches: Matches) -> int:
    """Return how many slots were found at a scale of the image."""
    return sum(isinstance(parts[0][1].scale, int) for parts in matches.values())


def _shifted(address: Address, shift: int, stems: list[str]) -> Address:
    """Return the address so many halvings of the image away; a stem's is that of the nearest of `stems`."""
    if address.stem is not None:
        return replace(address, function=_nearest_stem(address, stems))
    return replace(address, scale=address.scale + shift) if isinstance(address.scale, int) else address


def _nearest_stem(address: Address, stems: list[str]) -> str:
    if address.function in stems or not stems:
        return address.function

    def distance(other: str) -> float:
        ours, theirs = address.stem, Address(other).stem
        assert ours is not None and theirs is not None
        return sum(abs(log(mine / its)) for mine, its in zip(ours, theirs, strict=True))

    return min(stems, key=distance)
