"""Whether a folder is still as it was written, byte for byte: only such a one is replaced by --overwrite.

Its record says which files there are: `files` with their sizes, `digests` with the sha256 of texts, `tensors` with that
of each tensor. A card tells by its last line whether it was edited.
"""

import json
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from paramgen.errors import OutputError
from paramgen.storage.digest import cached_sha256, stamp_of
from paramgen.storage.json_file import read_json_object
from paramgen.storage.seal import CARD, is_edited, seal_of

PICTURES: Final = ("figures/distributions.png", "figures/graph.svg", "figures/spectra.png")
"""What `paramgen card --pictures` writes beside a card."""

_MAX_RECORD: Final = 100_000_000
_MAX_HEADER: Final = 100_000_000
_MAX_TEXT: Final = 10_000_000  # of a card
_BLOCK: Final = 1 << 20
_METADATA: Final = {"format": "pt"}  # of every weights file that a prediction becomes


def digests_of(folder: Path, *, but: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the sha256 of every file in `folder` and below, by path, for its record; those in `but` are left out."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: cached_sha256(path) for name, path in names.items() if name not in (but or {})}


def altered(folder: Path, mark: str) -> list[str]:
    """Return the paths of what is in `folder` but not as its record `mark` says: what --overwrite would lose."""
    record = _record(folder / mark)
    found = []
    for name, path in _files(folder):
        if path.is_symlink() or not (name == mark or _is_as_written(name, path, record, folder)):
            found.append(name)
    return sorted(found)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every file, link and empty folder, by its path from `folder`."""
    for place, folders, files in os.walk(folder, onerror=_raise):
        here = Path(place)
        links = [name for name in folders if (here / name).is_symlink()]
        empty = here != folder and not folders and not files
        for path in (*(here / name for name in (*files, *links)), *([here] if empty else ())):
            yield path.relative_to(folder).as_posix(), path


def _raise(error: OSError) -> None:
    """Stop at a folder that cannot be looked into: it may hold anything."""
    raise error


def _is_as_written(name: str, path: Path, record: Mapping[str, Any], folder: Path) -> bool:
    files, digests, tensors = (_mapping(record, key) for key in ("files", "digests", "tensors"))
    if name in digests:
        return path.is_file() and cached_sha256(path) == digests[name]
    if name in files:
        if not path.is_file() or path.stat().st_size != files[name]:
            return False
        return not name.endswith(".safetensors") or _holds(path, tensors)
    if name == CARD:
        return _is_our_card(path)
    return name in PICTURES and path.is_file() and stands_in_our_card(name, path, folder / CARD)


def _is_our_card(path: Path) -> bool:
    if not path.is_file() or path.is_symlink() or path.stat().st_size > _MAX_TEXT:
        return False
    return not is_edited(path.read_text(encoding="utf-8", errors="replace"))


def stands_in_our_card(name: str, path: Path, card: Path) -> bool:
    """Whether a picture is the one, byte for byte, that a card names; never where the card was edited."""
    return _is_our_card(card) and seal_of(name, cached_sha256(path)) in card.read_text(
        encoding="utf-8", errors="replace"
    )


def _record(path: Path) -> Mapping[str, Any]:
    """Return a record, which is not trusted; of one that cannot be read, nothing."""
    if path.is_symlink():
        return {}
    try:
        return read_json_object(path, most=_MAX_RECORD, error=OutputError)
    except OutputError:
        return {}


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = record.get(key)
    return found if isinstance(found, dict) else {}


def _holds(path: Path, tensors: Mapping[str, Any]) -> bool:
    """Whether a safetensors file holds exactly recorded tensors, as they were recorded."""
    wanted = {name: entry.get("sha256") if isinstance(entry, dict) else None for name, entry in tensors.items()}
    found = _tensors(path, stamp_of(path))
    return found is not None and all(wanted.get(name) == digest for name, digest in found)


@lru_cache(maxsize=1024)
def _tensors(path: Path, stamp: tuple[int, ...]) -> tuple[tuple[str, str], ...] | None:
    """Return name and sha256 of each tensor of a file; None where it is no such file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(_MAX_HEADER, stamp[2]):
                return None
            header = json.loads(file.read(length))
            if header.pop("__metadata__", None) != _METADATA:
                return None
            places = [(name, *map(int, entry["data_offsets"])) for name, entry in header.items()]
            if sum(end - begin for _, begin, end in places) != stamp[2] - 8 - length:
                return None  # there is more in it than tensors
            return tuple((name, _part(file, 8 + length + begin, end - begin)) for name, begin, end in places)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _part(file: Any, begin: int, left: int) -> str:
    digest = sha256()
    file.seek(begin)
    while left > 0 and (block := file.read(min(left, _BLOCK))):
        digest.update(block)
        left -= len(block)
    return digest.hexdigest()
