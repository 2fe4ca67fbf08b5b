"""Zip archives as `torch.save` writes them: a table of contents, and parts that are stored as they are.

Our own reader, because the part that matters is what it refuses: nothing is ever decompressed, so nothing can grow.
"""

import struct
from collections.abc import Callable
from typing import Final

from paramgen.errors import ForeignError
from paramgen.published.cursor import Cursor, shown

_MAX_PARTS: Final = 50_000
_MAX_COMMENT: Final = 1 << 16
_END: Final = b"PK\x05\x06"
_END_64: Final = b"PK\x06\x06"
_LOCATOR_64: Final = b"PK\x06\x07"
_ENTRY: Final = b"PK\x01\x02"
_LOCAL: Final = b"PK\x03\x04"


def parts(data: memoryview, name: str, spend: Callable[[int], None]) -> dict[str, memoryview]:
    """Return the bytes of every part of an archive by its path; `spend` gets their number before any is read.

    Raises:
        ForeignError: The archive is damaged, or has too many parts.
    """
    count, size, start = _directory(data, name)
    if count > _MAX_PARTS or start + size > len(data):
        raise ForeignError(
            f"{name} is refused: an archive of {count:,} parts; {_MAX_PARTS:,} are allowed, all inside the file."
        )
    spend(count + 1)
    cursor = Cursor(data[start : start + size], name)
    found: dict[str, memoryview] = {}
    for _ in range(count):
        path, length, offset = _entry(cursor)
        if path in found:
            raise ForeignError(f"{name} is refused: its part {shown(path)} is there twice.")
        found[path] = _part(data, name, offset, length)
    return found


def _directory(data: memoryview, name: str) -> tuple[int, int, int]:
    """Return the number of parts, and size and offset of the table of contents."""
    tail_start = max(0, len(data) - 22 - _MAX_COMMENT)
    found = bytes(data[tail_start:]).rfind(_END)
    if found < 0:
        raise ForeignError(f"{name} is damaged or cut short: an archive without an end. Get the file again.")
    offset = tail_start + found
    cursor = Cursor(data, name)
    cursor.position = offset + 10
    count, size, start, comment = struct.unpack("<HIIH", cursor.take(12))
    if comment != cursor.left:
        raise ForeignError(f"{name} is damaged or cut short: its end is not where it says. Get the file again.")
    if count != 0xFFFF and 0xFFFFFFFF not in (size, start):
        return count, size, start
    if offset < 20 or bytes(data[offset - 20 : offset - 16]) != _LOCATOR_64:
        raise ForeignError(f"{name} is damaged: a large archive without the record that says so. Get the file again.")
    cursor.position = offset - 12
    cursor.position = min(cursor.unpack("<Q"), len(data))
    record = bytes(cursor.take(56))
    if not record.startswith(_END_64):
        raise ForeignError(f"{name} is damaged: a large archive without an end. Get the file again.")
    large: tuple[int, int, int] = struct.unpack("<QQQ", record[32:56])
    return large


def _entry(cursor: Cursor) -> tuple[str, int, int]:
    """Return path, length and offset of the next part in the table of contents."""
    fields = struct.unpack("<4s2H2H2H3I5H2I", cursor.take(46))
    mark, flags, method = fields[0], fields[3], fields[4]
    packed, length, path_size, extra_size, comment_size, offset = *fields[8:13], fields[16]
    path = cursor.text(path_size)
    extra = Cursor(cursor.take(extra_size), cursor.name)
    cursor.take(comment_size)
    if mark != _ENTRY:
        raise ForeignError(f"{cursor.name} is damaged: its table of contents has no next part. Get the file again.")
    length, packed, offset = _large(extra, length, packed, offset)
    if method != 0 or packed != length or flags & 1:
        raise ForeignError(
            f"{cursor.name} is refused: its part {shown(path)} is compressed or encrypted ({packed:,} bytes for "
            f"{length:,}). torch.save stores parts as they are."
        )
    return path, length, offset


def _large(extra: Cursor, length: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Return the three numbers with those that did not fit 32 bits taken from the extra field (zip64)."""
    values = [length, packed, offset]
    while 0xFFFFFFFF in values and extra.left >= 4:
        kind, size = struct.unpack("<HH", extra.take(4))
        field = Cursor(extra.take(size), extra.name)
        if kind == 1:
            values = [field.unpack("<Q") if value == 0xFFFFFFFF else value for value in values]
            break
    return values[0], values[1], values[2]


def _part(data: memoryview, name: str, offset: int, length: int) -> memoryview:
    """Return the bytes of the part whose own header is at `offset`."""
    cursor = Cursor(data, name)
    cursor.position = min(offset, len(data))
    header = bytes(cursor.take(30))
    if not header.startswith(_LOCAL):
        raise ForeignError(f"{name} is damaged: a part is not where its table of contents says. Get the file again.")
    path_size, extra_size = struct.unpack("<HH", header[26:30])
    cursor.take(path_size + extra_size)
    return cursor.take(length)
