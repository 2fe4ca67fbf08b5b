"""What a pickle may have done again and again counts each time as much as it costs."""

from pathlib import Path

import pytest

from paramgen.errors import ForeignError
from paramgen.published import pickles
from paramgen.published.reader import read
from tests.support.published.hostile import archived, named, program, storage, text


def refused(folder: Path, data: bytes) -> str:
    (folder / "evil.pkl").write_bytes(data)
    with pytest.raises(ForeignError) as caught:
        read(folder / "evil.pkl")
    return str(caught.value)


def test_parts_of_embedded_archives_count(tmp_path: Path) -> None:
    inner = archived(program(storage("0", 4)), {"data/0": b"\0" * 16, **{f"x{place}": b"" for place in range(40_000)}})
    loaded = (
        named("torch.storage", "_load_from_bytes") + b"q\x00B" + len(inner).to_bytes(4, "little") + inner + b"q\x01"
    )
    data = program(loaded + b"00" + b"h\x00h\x01\x85R0" * 100 + b"N")
    assert f"{pickles.MAX_INSTRUCTIONS:,} instructions" in refused(tmp_path, data)


def test_values_that_are_copied_count(tmp_path: Path) -> None:
    numbers = b"](" + b"".join(b"J" + place.to_bytes(4, "little") for place in range(30_000)) + b"eq\x00"
    made = named("builtins", "set") + b"q\x01"
    data = program(numbers + made + b"00" + b"h\x01h\x00\x85R0" * 100 + b"N")
    assert f"{pickles.MAX_INSTRUCTIONS:,} instructions" in refused(tmp_path, data)


def test_a_namespace_that_is_filled_again_counts(tmp_path: Path) -> None:
    state = b"}(" + b"".join(text(str(place)) + b"N" for place in range(20_000)) + b"uq\x00"
    made = named("argparse", "Namespace") + b")R"
    data = program(state + made + b"h\x00b" * 100 + b"00N")
    assert f"{pickles.MAX_INSTRUCTIONS:,} instructions" in refused(tmp_path, data)


def test_a_long_shape_is_not_looked_through(tmp_path: Path) -> None:
    assert refused(tmp_path, program(b"(" + b"K\x01" * 50_000 + b"t\x85Q")) != ""
