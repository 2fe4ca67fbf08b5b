"""A page of a zoo's table is as large as its own header says, whatever stands in the footer."""

import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from paramgen.errors import ZooError
from paramgen.zoo import table
from paramgen.zoo.pages import _Header, chunks_of, unpacked_bytes
from paramgen.zoo.table import Row, read_rows

ROW = Row(
    id="a", task="t", split="train", texts=("x",), seed=0, steps=0, shard="0.safetensors", form="full", metrics={},
    licence="mit", source="s", revision="r", architecture_sha256="0", content_sha256="0",
).to_json()  # fmt: skip


def varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])


def written(folder: Path, rows: list[dict[str, object]], **options: object) -> Path:
    path = folder / table.TABLE_FILE
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, **options)
    return path


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["none", "snappy", "zstd"])
def test_pages_are_found_as_pyarrow_finds_them(tmp_path: Path, version: str, codec: str) -> None:
    rows = [ROW | {"seed": number, "texts": ["some", "words"] * (number % 5)} for number in range(3_000)]
    path = written(
        tmp_path, rows, compression=codec, data_page_version=version, data_page_size=300, write_batch_size=100,
        row_group_size=700,
    )  # fmt: skip
    metadata = parquet.read_metadata(path)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    with open(path, "rb") as file:
        found = list(unpacked_bytes(file, chunks_of(path)))
    assert [chunk.unpacked for chunk in chunks_of(path)] == [column.total_uncompressed_size for column in columns]
    assert [chunk.packed for chunk in chunks_of(path)] == [column.total_compressed_size for column in columns]
    total = sum(column.total_uncompressed_size for column in columns)  # which counts headers, too
    assert len(found) > 2 * len(columns) and sum(found) < total < sum(found) + 100 * len(found)
    assert len(read_rows(tmp_path)) == 3_000


def test_a_page_that_becomes_more_than_the_footer_says(tmp_path: Path) -> None:
    rows = [ROW | {"source": "x" * 10_000} for _ in range(300)]
    path = written(tmp_path, rows, compression="zstd", use_dictionary=False)
    group = parquet.read_metadata(path).row_group(0)
    names = [group.column(number).path_in_schema for number in range(group.num_columns)]
    size = group.column(names.index("source")).total_uncompressed_size
    content, honest = path.read_bytes(), varint(2 * size)
    assert size > 3_000_000 and content.count(honest) == 1
    path.write_bytes(content.replace(honest, b"\x82" + b"\x80" * (len(honest) - 2) + b"\0"))  # 1, in as many bytes
    with pytest.raises(ZooError, match="its pages are more than its footer says"):
        read_rows(tmp_path)


def test_an_honest_table_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, [ROW | {"source": "x" * 10_000} for _ in range(300)], compression="zstd", use_dictionary=False)
    monkeypatch.setattr(table, "MAX_TABLE_BYTES", 1_000_000)
    with pytest.raises(ZooError, match="bytes once it is decompressed; allowed are 1,000,000"):
        read_rows(tmp_path)


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (b"\x15\x02\x15\x04\x15\x06\x00", {(1, 5): 1, (2, 5): 2, (3, 5): 3}),
        (b"\x15\x02\x15\x04\x16\x06\x00", {(1, 5): 1, (2, 5): 2, (3, 6): 3}),  # 64 bits are another kind
        (b"\x2c\x1c\x15\x02\x00\x00\x15\x06\x00", {(2, 12): {(1, 12): {(1, 5): 1}}, (3, 5): 3}),
        (b"\x28\x03abc\x15\x06\x00", {(2, 8): None, (3, 5): 3}),
        (b"\x29\x31\x01\x02\x01\x15\x06\x00", {(2, 9): [None] * 3, (3, 5): 3}),  # three truths
        (b"\x19\x2c\x15\x02\x00\x15\x04\x00\x00", {(1, 9): [{(1, 5): 1}, {(1, 5): 2}]}),
    ],
)
def test_headers(content: bytes, fields: dict[tuple[int, int], object]) -> None:
    header = _Header(content)
    assert header.struct(6) == fields and header.position == len(content)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x15", b"\x15\x02", b"\x1c" * 40, b"\x1b\x00\x00", b"\x18\xff\xff\x03", b"\x15" + b"\xff" * 20,
     b"\x15\x02\x05\x02\x04\x00",  # one field twice
     b"\x25\x04\x05\x84\x80\x08\xfe\xff\xff\xff\x0f\x00", b"\x19\xfc\xff\xff\xff\x0f"],
)  # fmt: skip
def test_headers_that_are_none(content: bytes) -> None:
    with pytest.raises(IndexError):
        _Header(content).struct(4)


def test_a_footer_at_which_pyarrow_ends_the_process(tmp_path: Path) -> None:
    """An optional column that is said to be of an unknown kind; its statistics do not fit that."""
    path = written(tmp_path, [ROW])
    content, column = path.read_bytes(), b"\x25\x02\x18\x04task"
    assert content.count(column) == 1
    path.write_bytes(content.replace(column, b"\x25\x3d\x18\x04task"))
    script = (
        "import sys; from pathlib import Path; from paramgen.errors import ZooError; from paramgen.zoo.table import *\n"
        "try: read_rows(Path(sys.argv[1]))\n"
        "except ZooError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and "is no table that can be read" in done.stdout
