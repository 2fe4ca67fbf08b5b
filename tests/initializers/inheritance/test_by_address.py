"""Which group of a donor's weights is the nearest."""

import pytest

from paramgen.graphs.analysis.address import Address
from paramgen.graphs.analysis.addressed_slots import AddressedSlot, Slice
from paramgen.initializers.inheritance.by_address import taken_by_address


def slots(*addresses: str) -> dict[str, AddressedSlot]:
    return {
        f"{number}": AddressedSlot(
            slot=f"{number}", shape=(4, 4), form="weight", slices=(Slice(Address.parse(address), 0, 4),)
        )
        for number, address in enumerate(addresses)
    }


def taken(mine: str, *theirs: str) -> int | None:
    found = taken_by_address(slots(mine), slots(*theirs))
    return int(found["0"][0].donor) if found else None


@pytest.mark.parametrize(
    ("mine", "theirs", "number"),
    [
        ("stream>conv3>conv@1/0:weight", ("conv>conv3>stream@1/0:weight", "stream>conv3>conv@1/0:weight"), 1),
        ("stream>pw>conv@1/0:weight", ("stream>conv3>conv@1/0:weight", "stream>dw3>conv@1/0:weight"), 0),
        ("stream>dw7>pw@1/0:weight", ("stream>conv3>conv@1/0:weight",), None),
        ("stem7by2/0:weight", ("stem3by1/0:weight", "stream>conv7>conv@1/0:weight"), 0),
        ("stream>pw>attention@tokens:key/0:weight", ("stream>pw>attention@tokens:query/0:weight",), None),
        ("stream>pw>pw@tokens/0:weight", ("stream>pw>attention@tokens/0:weight",), None),
        ("pool>pw>gate@2/0:weight", ("stream>pw>gate@2/0:weight", "pool>pw>gate@2/0:weight"), 1),
        ("head10/0:weight", ("head1000/0:weight",), 0),
    ],
)
def test_the_nearest_weight_of_the_same_kind(mine: str, theirs: tuple[str, ...], number: int | None) -> None:
    assert taken(mine, *theirs) == number


def test_stages_lie_as_far_along_the_network() -> None:
    mine = slots(*(f"stream>conv3>conv@{scale}/0:weight" for scale in (2, 3, 4, 5)))
    theirs = slots(*(f"stream>conv3>conv@{scale}/0:weight" for scale in (0, 1, 2)))
    found = taken_by_address(mine, theirs)
    assert [found[name][0].donor for name in mine] == ["0", "1", "1", "2"]
