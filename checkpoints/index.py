"""Write index.parquet from the headers of the shards; duplicates and invalid rows are skipped and reported."""

import os
from pathlib import Path
from typing import Final

from checkpoints.writing import read_shard_rows
from paramgen._optional import require
from paramgen.errors import ZooError
from paramgen.zoo.layout import read_layout
from paramgen.zoo.reading import SHARDS, Skipped
from paramgen.zoo.table import TABLE_FILE, Row

_TEXT: Final = "id task split shard form metrics licence source revision architecture_sha256 content_sha256".split()


def index(folder: Path) -> tuple[int, list[Skipped]]:
    """Write the table of all shards. Return how many checkpoints it has, and what was left out."""
    layout = read_layout(folder)
    rows: dict[str, Row] = {}
    known: dict[str, str] = {}
    skipped: list[Skipped] = []
    for path in sorted((folder / SHARDS).glob("*.safetensors")):
        try:
            given = read_shard_rows(path)
        except ZooError as error:
            skipped.append(Skipped(path.name, str(error)))
            continue
        for each in given:
            try:
                row = Row.from_json(each)
                _refuse(row, rows, known, path.name, layout.form)
            except ZooError as error:
                skipped.append(Skipped(str(each.get("id"))[:200] if isinstance(each, dict) else path.name, str(error)))
            else:
                rows[row.id] = row
                known[row.content_sha256] = row.id
    if not rows:
        raise ZooError(f"{folder / SHARDS} has no checkpoint that can be listed.")
    _write(folder / TABLE_FILE, list(rows.values()))
    return len(rows), skipped


def _refuse(row: Row, rows: dict[str, Row], known: dict[str, str], shard: str, form: str) -> None:
    if row.shard != shard:
        raise ZooError(f"its shard is {row.shard!r}, but it stands in {shard!r}")
    if row.id in rows:
        raise ZooError("its id stands twice")
    if row.form != form:
        raise ZooError(f"its form is {row.form!r}, the zoo's {form!r}")
    if row.content_sha256 in known:
        raise ZooError(f"it is the same as {known[row.content_sha256]}")


def _write(path: Path, rows: list[Row]) -> None:
    """Write the table by datasets, so that its `load_dataset` knows the columns."""
    datasets = require("datasets", extra="datasets")
    text, number = datasets.Value("string"), datasets.Value("int64")
    features = {name: text for name in _TEXT} | {"texts": datasets.List(text), "seed": number, "steps": number}
    given = [row.to_json() for row in rows]
    table = datasets.Dataset.from_list(given, features=datasets.Features({name: features[name] for name in given[0]}))
    partial = path.with_name(f".{path.name}.partial")
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        table.to_parquet(partial)
    finally:
        if shown:
            datasets.enable_progress_bars()
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
