"""The sha256 of files, computed once while the file stays as it is, and of all tensors of a folder together."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    return files_sha256([path])


def files_sha256(paths: Iterable[Path]) -> str:
    """Return the sha256 of the contents of files, one after the other, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def tensors_sha256(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one sha256 of all tensors: of their names, dtypes, shapes and digests, as paramgen.json has them.

    Neither the order of the tensors nor their division among files matters.
    """
    rows = [[name, each["dtype"], each["shape"], each["sha256"]] for name, each in sorted(records.items())]
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()


def cached_sha256(path: Path) -> str:
    """Return the sha256 of a file, which is computed again only when the file has changed."""
    return _sha256(path, stamp_of(path))


def stamp_of(path: Path) -> tuple[int, ...]:
    """Return what changes when a file does: device, inode, size and both times."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=4096)
def _sha256(path: Path, stamp: tuple[int, ...]) -> str:
    return file_sha256(path)
