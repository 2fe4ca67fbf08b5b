"""index.parquet: a row for each checkpoint, read as hostile."""

import json
import math
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, final

from paramgen._optional import require
from paramgen.errors import ZooError, one_line

NAME: Final = "index.parquet"
MAX_BYTES: Final = 500_000_000
MAX_ROWS: Final = 2_000_000
MAX_TEXTS: Final = 100
MAX_TEXT: Final = 10_000
SPLITS: Final = ("train", "validation", "test")
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
SHARD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.safetensors")
_COUNTS: Final = ("seed", "steps")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One checkpoint. `task` is the concept it was trained for, `texts` are all phrasings of it."""

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
            if not isinstance(given.get(name), str) or len(given[name]) > MAX_TEXT:
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
    path = folder / NAME
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ZooError(f"{path} is larger than {MAX_BYTES:,} bytes; that is no zoo's.")
        with parquet.ParquetFile(path) as file:
            if file.metadata.num_rows > MAX_ROWS:
                raise ZooError(f"{path} has {file.metadata.num_rows:,} rows; allowed are {MAX_ROWS:,}.")
            known = [field.name for field in fields(Row)]
            missing = sorted(set(known) - set(file.schema_arrow.names))
            if missing:
                raise ZooError(f"{path} has no column {missing[0]!r}. Type: python -m checkpoints index {folder}")
            return list(file.read(columns=known).to_pylist())
    except FileNotFoundError as error:
        raise ZooError(f"{path} does not exist. Type: python -m checkpoints index {folder}") from error
    except (OSError, ValueError, MemoryError) as error:  # pyarrow's own errors are of these kinds
        raise ZooError(f"{path} is no table that can be read: {one_line(error)}. Get it again.") from error


def _texts(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not 0 < len(given) <= MAX_TEXTS:
        raise ZooError(f"it has no list of 1 to {MAX_TEXTS} texts")
    if not all(isinstance(text, str) and len(text.strip()) > 0 and len(text) <= MAX_TEXT for text in given):
        raise ZooError(f"one of its texts is empty or longer than {MAX_TEXT:,} characters")
    return tuple(given)


def _metrics(given: Any) -> dict[str, float]:
    try:
        found = json.loads(given) if isinstance(given, str) and len(given) <= MAX_TEXT else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ZooError("its metrics are no JSON")
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in found.values()):
        raise ZooError("one of its metrics is no finite number")
    return found
