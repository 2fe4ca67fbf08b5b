from dataclasses import replace

from paramgen.graphs.analysis.address import Address
from paramgen.graphs.analysis.addressed_slots import AddressedSlot, Slice
from paramgen.hypernets.matching import match_addresses


def slot(name: str, address: str, depth_index: int = 0, depth_count: int = 1) -> AddressedSlot:
    own = replace(Address.parse(f"{address}/0:weight"), depth_index=depth_index)
    return AddressedSlot(slot=name, shape=(4, 4), form="weight", slices=(Slice(own, 0, 4),), depth_count=depth_count)


def found(known: set[str], *slots: AddressedSlot) -> dict[str, list[str]]:
    addresses = {Address.parse(text) for text in known}
    matches = match_addresses({each.slot: each for each in slots}, addresses, token_steps=3, image_steps=2)
    return {name: [str(address) for _, address in slices] for name, slices in matches.items()}


def test_the_nearest_step_of_the_depth_is_taken() -> None:
    known = {f"stream>pw>pw@tokens/{step}:weight" for step in range(3)}
    blocks = [slot(str(index), "stream>pw>pw@tokens", index, 5) for index in range(5)]
    steps = [names[0].split("/")[1][0] for names in found(known, *blocks).values()]
    assert steps == ["0", "0", "1", "2", "2"]


def test_a_network_at_other_scales_is_moved_as_a_whole() -> None:
    known = {f"stream>conv3>conv@{scale}/0:weight" for scale in (2, 3)}
    early, late = slot("early", "stream>conv3>conv@1"), slot("late", "stream>conv3>conv@2")
    assert found(known, early, late) == {
        "early": ["stream>conv3>conv@2/0:weight"],
        "late": ["stream>conv3>conv@3/0:weight"],
    }
    assert found(known, late) == {"late": ["stream>conv3>conv@2/0:weight"]}  # as it stands, where that fits as well


def test_an_unknown_stem_gets_the_nearest_one() -> None:
    known = {"stem3by2/0:weight", "stem4by4/0:weight", "stem8by8/0:weight"}
    assert found(known, slot("s", "stem3by1")) == {"s": ["stem3by2/0:weight"]}
    assert found(known, slot("s", "stem16by16")) == {"s": ["stem8by8/0:weight"]}
    assert found(known, slot("s", "stem4by4")) == {"s": ["stem4by4/0:weight"]}
    assert found({"head10/0:weight"}, slot("s", "stem4by4")) == {}
