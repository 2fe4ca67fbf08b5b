"""Write the files of a zoo, each one whole or not at all: to a partial file, which is synced and renamed."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from paramgen.errors import ZooError, one_line
from paramgen.storage.regular import refuse_irregular
from paramgen.zoo.layout import ZOO_FILE, ZooLayout
from paramgen.zoo.reading import SHARDS
from paramgen.zoo.table import Row

ROWS: Final = "rows"
"""The key of a shard's header under which its rows are stored, so that the table can be written anew."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write one file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write one JSON file, whole or not at all."""
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write one safetensors file, whole or not at all."""
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}
    write_bytes(path, save(whole, metadata=dict(metadata) if metadata else None))


def write_layout(folder: Path, layout: ZooLayout, base: Mapping[str, Tensor] | None) -> None:
    """Write the base checkpoint and then zoo.json."""
    if layout.base is not None and base is not None:
        write_tensors(folder / layout.base, base)
    write_json(folder / ZOO_FILE, layout.to_json())


def write_shard(folder: Path, name: str, checkpoints: Iterable[tuple[Row, Mapping[str, Tensor]]]) -> None:
    """Write one shard with its rows."""
    rows: list[Any] = []
    tensors: dict[str, Tensor] = {}
    for row, own in checkpoints:
        if row.shard != name:
            raise ZooError(f"The checkpoint {row.id} is for {row.shard!r}, not for {name!r}.")
        rows.append(row.to_json())
        tensors |= {f"{row.id}/{key}": tensor for key, tensor in own.items()}
    write_tensors(folder / SHARDS / name, tensors, {ROWS: json.dumps(rows)})


def read_shard_rows(path: Path) -> list[Any]:
    """Return the rows that a shard's header has, unchecked; raise ZooError if it is not whole."""
    refuse_irregular(path, ZooError)
    try:
        with safe_open(path, framework="pt") as file:
            rows = json.loads((file.metadata() or {}).get(ROWS, "null"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ZooError(f"{path} is not a whole shard: {one_line(error)}.") from error
    if not isinstance(rows, list):
        raise ZooError(f"{path} names no checkpoints in its header.")
    return rows


def finite(tensors: Mapping[str, Tensor]) -> bool:
    """Whether all values are finite numbers."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
