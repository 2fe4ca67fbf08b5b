import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramgen.errors import GraphError
from paramgen.graphs.analysis.address import Address

WORD = st.from_regex(r"[a-z0-9_]{1,12}", fullmatch=True)
LETTERS = st.from_regex(r"[a-z]{1,12}", fullmatch=True)
ADDRESSES = st.builds(
    Address,
    function=WORD | st.tuples(WORD, WORD, WORD).map(">".join),
    scale=st.none() | st.integers(0, 99) | LETTERS,
    projection=st.none() | LETTERS,
    depth_index=st.integers(0, 999),
    part=st.from_regex(r"[a-z_]{1,12}", fullmatch=True),
)


@given(ADDRESSES)
def test_parsing_is_the_inverse_of_writing(address: Address) -> None:
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("hypernet", ["vision", "text"])
def test_every_name_in_the_shipped_supernets_is_an_address(hypernet: str) -> None:
    folder = Path(__file__).parents[3] / "paramgen" / "pretrained" / hypernet
    names = json.loads((folder / "config.json").read_text())["tensors"]
    assert names and [str(Address.parse(name)) for name in names] == list(names)


def test_the_parts_of_an_address() -> None:
    found = Address.parse("stream>pw>attention@rotary:query/3:bias")
    assert found == Address("stream>pw>attention", "rotary", "query", 3, "bias")
    assert found.operation == "pw" and found.among_tokens and not found.head and found.stem is None
    stem, head = Address.parse("stem7by2/0:weight"), Address.parse("head10/0:weight")
    assert stem.stem == (7, 2) and stem.operation is None and head.head and not head.among_tokens
    assert Address.parse("stream>conv3s>conv@2/0:weight").scale == 2


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "keys", "a/0", "a:weight", "a.b/0:weight", "a/01:weight", "a@02/0:weight", "a/0:weight\n"),
        *("a>b/0:weight", "a>b>c>d/0:weight", "A/0:weight", "a/-1:weight", "a@/0:weight", "a/0:", "a/٣:weight"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(GraphError, match=re.escape("is no address of a shared weight")):
        Address.parse(text)
