from paramgen.graphs.analysis.places import Piece, Place
from paramgen.hypernets.matching import matched


def place(slot: str, *names: str, turn: int = 0, turns: int = 1) -> Place:
    pieces = tuple(Piece(name, 0, 4) for name in names)
    return Place(slot=slot, shape=(4, 4), form="weight", part="weight", pieces=pieces, turn=turn, turns=turns)


def found(known: set[str], *places: Place) -> dict[str, list[str]]:
    matches = matched({each.slot: each for each in places}, known, token_steps=3, image_steps=2)
    return {slot: [name for _, name in pieces] for slot, pieces in matches.items()}


def test_the_nearest_step_of_the_depth_is_taken() -> None:
    known = {f"stream>pw>pw@tokens/{step}:weight" for step in range(3)}
    blocks = [place(str(turn), "stream>pw>pw@tokens", turn=turn, turns=5) for turn in range(5)]
    steps = [names[0].split("/")[1][0] for names in found(known, *blocks).values()]
    assert steps == ["0", "0", "1", "2", "2"]


def test_a_network_at_other_scales_is_moved_as_a_whole() -> None:
    known = {f"stream>conv3>conv@{scale}/0:weight" for scale in (2, 3)}
    early, late = place("early", "stream>conv3>conv@1"), place("late", "stream>conv3>conv@2")
    assert found(known, early, late) == {
        "early": ["stream>conv3>conv@2/0:weight"],
        "late": ["stream>conv3>conv@3/0:weight"],
    }
    assert found(known, late) == {"late": ["stream>conv3>conv@2/0:weight"]}  # as it stands, where that fits as well


def test_an_unknown_stem_gets_the_nearest_one() -> None:
    known = {"stem3by2/0:weight", "stem4by4/0:weight", "stem8by8/0:weight"}
    assert found(known, place("s", "stem3by1")) == {"s": ["stem3by2/0:weight"]}
    assert found(known, place("s", "stem16by16")) == {"s": ["stem8by8/0:weight"]}
    assert found(known, place("s", "stem4by4")) == {"s": ["stem4by4/0:weight"]}
    assert found({"head10/0:weight"}, place("s", "stem4by4")) == {}
