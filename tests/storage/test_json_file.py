"""A small JSON object from anybody's file: whatever it is instead is refused in one line, and nothing is waited for."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from paramgen.comparison.run_record import read_run
from paramgen.errors import CheckError, OutputError, ParamgenError, ZooError
from paramgen.storage.json_file import MAX_DEPTH, read_json_object
from paramgen.storage.reading import weight_files
from paramgen.zoo.layout import read_layout

MOST = 20


def read(file: Path) -> dict[str, object]:
    return read_json_object(file, most=MOST, error=ZooError, advice="Get it again.")


def test_an_object_is_read_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"b": "\u00e9"}', encoding="utf-8")
    (tmp_path / "link.json").symlink_to("a.json")
    assert read(tmp_path / "a.json") == read(tmp_path / "link.json") == {"b": "\u00e9"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[]", "holds no JSON object"),
        (b"{", "is no JSON"),
        (b"\xff{}", "is no JSON"),
        (b"\xef\xbb\xbf{}", "is no JSON"),
        (b"[" * MOST, "is no JSON"),
        (b" " * MOST + b"{}", "has 22 bytes; allowed are 20"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ZooError, match=said) as refused:
        read(tmp_path / "a.json")
    assert "\n" not in str(refused.value) and str(refused.value).endswith("Get it again.")


@pytest.mark.parametrize("nested", [('{"a":', "}"), "[]"])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 2, 300, 940])
def test_what_is_nested_deep_is_refused(tmp_path: Path, nested: tuple[str, str], depth: int) -> None:
    begin, end = nested
    text = '{"b": ' + begin * (depth - 2) + "{}" + end * (depth - 2) + "}"
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ZooError, match=f"is nested more than {MAX_DEPTH} deep"):
        read_json_object(tmp_path / "a.json", most=10**4, error=ZooError)


def test_what_is_nested_as_deep_as_allowed_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"b": ' + "[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH + "}")
    assert read_json_object(tmp_path / "a.json", most=10**4, error=ZooError)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "null.json").symlink_to("/dev/zero")
    for name in ("pipe.json", "null.json"):
        with pytest.raises(ZooError, match="is no regular file"):
            read(tmp_path / name)
    for name in (".", "nowhere.json"):
        with pytest.raises(ZooError, match="cannot be read"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "reader", "error"),
    [
        ("zoo.json", read_layout, ZooError),
        ("run.json", lambda folder: read_run(folder / "run.json"), OutputError),
        ("model.safetensors.index.json", weight_files, CheckError),
    ],
)
def test_no_reader_waits_for_a_pipe(
    tmp_path: Path, name: str, reader: Callable[[Path], object], error: type[ParamgenError]
) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(error, match="is no regular file"):
        reader(tmp_path)
