"""index.parquet has a row for each checkpoint; it is validated, as it may be anybody's."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, final

from paramgen._optional import require
from paramgen.errors import ZooError, one_line
from paramgen.storage.regular import refuse_irregular
from paramgen.zoo.layout import MAX_ZOO_TEXT as MAX_ZOO_TEXT
from paramgen.zoo.pages import chunks_of, unpacked_bytes

TABLE_FILE: Final = "index.parquet"
MAX_TABLE_BYTES: Final = 500_000_000
MAX_ROWS: Final = 2_000_000
MAX_TABLE_COLUMNS: Final = 1_000
MAX_GROUPS: Final = 10_000
MAX_TASK_TEXTS: Final = 100
MAX_VALUE: Final = 4 * MAX_ZOO_TEXT  # bytes
SPLITS: Final = ("train", "validation", "test")
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
SHARD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.safetensors")
_COUNTS: Final = ("seed", "steps")
_BATCH: Final = 4_096  # rows
_OVERHEAD: Final = 50  # bytes of a value in Python, beside its letters


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The row of one checkpoint. `task` is the id of the task it was trained on, `texts` are all its phrasings."""

    id: str
    task: str
    split: str
    texts: tuple[str, ...]
    seed: int
    steps: int
    shard: str
    form: str
    metrics: dict[str, float]
    licence: str
    source: str
    revision: str
    architecture_sha256: str
    content_sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return the row as the table has it; the metrics are JSON, as not all checkpoints have the same."""
        found: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        return found | {"texts": list(self.texts), "metrics": json.dumps(self.metrics, sort_keys=True)}

    @classmethod
    def from_json(cls, given: Any) -> "Row":
        """Return one row, or say in half a sentence what is wrong with it."""
        if not isinstance(given, dict):
            raise ZooError("it is no row")
        names = [field.name for field in fields(cls) if field.name not in ("texts", "metrics", *_COUNTS)]
        for name in names:
            if not isinstance(given.get(name), str) or len(given[name]) > MAX_ZOO_TEXT:
                raise ZooError(f"its {name} is no text")
        for name in _COUNTS:
            if not isinstance(given.get(name), int) or given[name] < 0:
                raise ZooError(f"its {name} is no number from 0 on")
        row = cls(
            **{name: given[name] for name in (*names, *_COUNTS)},
            texts=_texts(given.get("texts")),
            metrics=_metrics(given.get("metrics")),
        )
        row._check()
        return row

    def _check(self) -> None:
        if not ID.fullmatch(self.id):
            raise ZooError("its id is none")
        if not SHARD.fullmatch(self.shard):
            raise ZooError("its shard is no safetensors file of the zoo")
        if self.split not in SPLITS:
            raise ZooError(f"its split is none of {', '.join(SPLITS)}")
        if not self.licence.strip():
            raise ZooError("it has no licence")


def read_rows(folder: Path) -> list[Any]:
    """Return the rows as they stand in the table, unchecked."""
    parquet = require("pyarrow.parquet", extra="datasets")
    path = folder / TABLE_FILE
    refuse_irregular(path, ZooError)
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise ZooError(f"{path} is larger than {MAX_TABLE_BYTES:,} bytes; that is no zoo's.")
        with parquet.ParquetFile(path) as file:
            if file.metadata.num_rows > MAX_ROWS:
                raise ZooError(f"{path} has {file.metadata.num_rows:,} rows; allowed are {MAX_ROWS:,}.")
            known = [field.name for field in fields(Row)]
            missing = sorted(set(known) - set(file.schema_arrow.names))
            if missing:
                raise ZooError(f"{path} has no column {missing[0]!r}. Type: python -m checkpoints index {folder}")
            _refuse_large(file.metadata, path)
            texts = _text_columns(file.schema, known)
        with parquet.ParquetFile(path, read_dictionary=texts) as file:  # a text is read once, however often it stands
            return _read(file, known, path)
    except FileNotFoundError as error:
        raise ZooError(f"{path} does not exist. Type: python -m checkpoints index {folder}") from error
    except (OSError, ValueError, TypeError, LookupError, NotImplementedError, MemoryError) as error:  # all of pyarrow's
        raise ZooError(f"{path} is no table that can be read: {one_line(error)}. Get it again.") from error


def _refuse_large(metadata: Any, path: Path) -> None:
    """Refuse a table by its footer, before anything is decompressed: too many columns, or too many bytes in them."""
    if metadata.num_columns > MAX_TABLE_COLUMNS or metadata.num_row_groups > MAX_GROUPS:
        raise ZooError(
            f"{path} has {metadata.num_columns:,} columns in {metadata.num_row_groups:,} parts; allowed are "
            f"{MAX_TABLE_COLUMNS:,} in {MAX_GROUPS:,}."
        )
    try:
        chunks = chunks_of(path)
        size = sum(max(chunk.unpacked, chunk.packed, 0) for chunk in chunks)
        if size > MAX_TABLE_BYTES:
            raise ZooError(f"it has {size:,} bytes once it is decompressed; allowed are {MAX_TABLE_BYTES:,}")
        with open(path, "rb") as file:
            for nbytes in unpacked_bytes(file, chunks):
                size -= nbytes
                if size < 0:
                    raise ZooError("its pages are more than its footer says")
    except ZooError as error:
        raise ZooError(f"{path} is no table that is read: {error}. Get it again.") from error


def _text_columns(schema: Any, known: list[str]) -> list[str]:
    """Return the paths of the columns that hold texts."""
    columns = (schema.column(number) for number in range(len(schema)))
    return [
        column.path
        for column in columns
        if column.path.partition(".")[0] in known and column.physical_type == "BYTE_ARRAY"
    ]


def _read(file: Any, known: list[str], path: Path) -> list[Any]:
    """Return the rows, read a few at a time.

    A text that stands once in the file may stand in every row: what the rows would take is measured before they are
    made.
    """
    rows: list[Any] = []
    size = 0
    for batch in _batches(file, known):
        size += sum(_size(column, path) for column in batch.columns)
        if size > MAX_TABLE_BYTES or len(rows) + len(batch) > MAX_ROWS:
            raise ZooError(f"{path} has more than {MAX_TABLE_BYTES:,} bytes or {MAX_ROWS:,} rows once it is read.")
        rows += batch.to_pylist()
    return rows


def _batches(file: Any, known: list[str]) -> Iterator[Any]:
    """Yield a few rows at a time, never of two row groups: pyarrow cannot join their dictionaries in lists."""
    for group in range(file.metadata.num_row_groups):
        yield from file.iter_batches(batch_size=_BATCH, row_groups=[group], columns=known)


def _size(column: Any, path: Path) -> int:
    """Return how many bytes a column's values take one by one; of what no zoo's table has, say so."""
    types, compute = require("pyarrow.types", extra="datasets"), require("pyarrow.compute", extra="datasets")
    if types.is_list(column.type):
        column = column.flatten()
    if types.is_dictionary(column.type):
        lengths = compute.binary_length(column.dictionary)
        if (compute.max(lengths).as_py() or 0) > MAX_VALUE:
            raise ZooError(f"{path} has a text of more than {MAX_VALUE:,} bytes; no zoo's table has.")
        return int(compute.sum(lengths.take(column.indices)).as_py() or 0) + _OVERHEAD * len(column)
    if not types.is_integer(column.type):
        raise ZooError(
            f"{path} has a column of {one_line(column.type)}; a zoo's are texts, lists of texts and numbers."
        )
    return _OVERHEAD * len(column)


def _texts(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not 0 < len(given) <= MAX_TASK_TEXTS:
        raise ZooError(f"it has no list of 1 to {MAX_TASK_TEXTS} texts")
    if not all(isinstance(text, str) and len(text.strip()) > 0 and len(text) <= MAX_ZOO_TEXT for text in given):
        raise ZooError(f"one of its texts is empty or longer than {MAX_ZOO_TEXT:,} characters")
    return tuple(given)


def _metrics(given: Any) -> dict[str, float]:
    try:
        found = json.loads(given) if isinstance(given, str) and len(given) <= MAX_ZOO_TEXT else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ZooError("its metrics are no JSON")
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in found.values()):
        raise ZooError("one of its metrics is no finite number")
    return found
