"""Conditional and range requests (RFC 9110, sections 13 and 14), for files whose ETag is known before their content."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, final

from serve.problems import Problem

_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')


@final
@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes to answer with, and whether a range was requested."""

    start: int
    stop: int
    partial: bool


def unchanged(headers: Mapping[str, str], etag: str) -> bool:
    """Whether the caller already has the file."""
    given = headers.get("if-none-match", "")
    return given.strip() == "*" or etag in _TAG.findall(given)


def range_of(headers: Mapping[str, str], etag: str, size: int) -> ByteRange:
    """Return the requested range of a file of `size` bytes; without a single valid range, the whole file.

    Raises:
        Problem: The range lies outside the file.

    """
    whole = ByteRange(0, size, partial=False)
    match = _RANGE.fullmatch(headers.get("range", "").strip())
    if match is None or match[0] == "bytes=-":
        return whole
    if headers.get("if-range", etag).strip() != etag:
        return whole
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return whole
    if start >= min(stop, size):
        raise Problem(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"The range {match[0]!r} lies outside the file's {size:,} bytes.",
            {"Content-Range": f"bytes */{size}"},
        )
    return ByteRange(start, stop, partial=True)
