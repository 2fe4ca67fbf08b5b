import json
from pathlib import Path

import pytest

from paramgen.errors import ForeignError
from paramgen.published.families import PublishedFamily, Settings
from paramgen.published.ghn2 import GHN2
from paramgen.published.ghn3 import GHN3
from paramgen.published.logah import LOGAH
from paramgen.published.tables import DROPPED, KeyTable, Rename
from tests.support.published import published

KEYS: dict[str, list[str]] = json.loads((Path(__file__).parents[1] / "assets" / "published_keys.json").read_text())
SETTINGS = {
    "ghn3_small.pt": (GHN3, True, False),
    "ghn3_small_trainform.pt": (GHN3, False, False),
    "logah_vit_small.pt": (LOGAH, False, False),
    "logah_gpt_small.pt": (LOGAH, False, False),
}


def table(family: PublishedFamily, *, pretrained: bool = False, vectors: bool = False) -> KeyTable:
    settings = Settings(hid=8, max_shape=(1, 1, 1, 1), pretrained=pretrained, use_1d_decoder=vectors)
    return family.table(settings)


def assert_reversible(keys: KeyTable, names: list[str]) -> None:
    ours = [keys.to_ours(name) for name in names]
    assert [keys.to_foreign(name) for name in ours] == names
    assert len(set(ours)) == len(ours)


@pytest.mark.parametrize("file", KEYS)
def test_every_key_of_a_published_file_goes_there_and_back(file: str) -> None:
    family, pretrained, vectors = SETTINGS[file]
    assert_reversible(table(family, pretrained=pretrained, vectors=vectors), KEYS[file])


@pytest.mark.parametrize("file", KEYS)
def test_the_small_checkpoints_of_these_tests_have_the_published_keys(file: str) -> None:
    family, pretrained, _ = SETTINGS[file]
    small = published.ghn3(pretrained=pretrained) if family is GHN3 else published.logah(language="gpt" in file)
    assert set(small) == set(KEYS[file])


@pytest.mark.parametrize("virtual", [False, True])
def test_ghn2_goes_there_and_back(virtual: bool) -> None:
    assert_reversible(table(GHN2), list(published.ghn2(virtual=virtual)))


def test_logah_with_a_vector_network_goes_there_and_back() -> None:
    assert_reversible(table(LOGAH, vectors=True), list(published.logah(language=False, vectors=True)))


def test_what_is_not_taken_over_says_why() -> None:
    keys = table(LOGAH)
    assert keys.to_ours("decoder.l1.weight") == f"{DROPPED}decoder.l1.weight"
    assert keys.to_foreign(f"{DROPPED}decoder.l1.weight") == "decoder.l1.weight"
    copy = keys.dropped_by("decoder.l2.bias")
    assert copy is not None
    assert copy.copy_of == "decoder.seq.1"
    assert keys.dropped_by("decoder.seq.1.bias") is None


@pytest.mark.parametrize("key", ["gnn.00.ln1.weight", "gnn.x.ln1.weight", "gnn.0.ln1.weight\n", "embed", "embed.", ""])
def test_unknown_keys_are_refused(key: str) -> None:
    with pytest.raises(ForeignError, match="does not know"):
        table(GHN3).to_ours(key)
    with pytest.raises(ForeignError, match="no published name"):
        table(GHN3).to_foreign(key)


def test_names_are_no_patterns() -> None:
    keys = KeyTable((Rename("a.b", "c"),))
    assert keys.to_ours("a.b.weight") == "c.weight"
    with pytest.raises(ForeignError):
        keys.to_ours("aXb.weight")
