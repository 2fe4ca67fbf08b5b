"""The one reader of small JSON from untrusted files: what it is, then size, then syntax, then the object."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from paramgen.errors import ParamgenError, one_line

MAX_DEPTH: Final = 64
"""Objects and lists inside each other: what copies, compares or writes values calls itself once for each."""


def read_json_object(
    file: Path, *, most: int, error: type[ParamgenError], advice: str = "Get it again."
) -> dict[str, Any]:
    """Return the JSON object in a file, as `read_json` does; an `error` is raised for another value, too."""
    found = read_json(file, most=most, error=error, advice=advice)
    if not isinstance(found, dict):
        raise error(f"{file} holds no JSON object. {advice}")
    return found


def read_json(file: Path, *, most: int, error: type[ParamgenError], advice: str = "Get it again.") -> Any:
    """Return the JSON value in a file.

    Args:
        file: A UTF-8 text. A link is followed; a pipe, a device or a folder is not waited for, but refused.
        most: The largest size in bytes that is read.
        error: What is raised for anything else.
        advice: The end of the message: what to do next.

    Raises:
        ParamgenError: An `error`: it is no file, is too large, cannot be read, holds no JSON, or is deep.

    """
    try:
        # What was opened is looked at, not what bears its name: that may be another one by now.
        with open(file, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise error(f"{file} is no regular file. {advice}")
            if status.st_size > most:
                raise error(f"{file} has {status.st_size:,} bytes; allowed are {most:,}. {advice}")
            content = opened.read(most + 1)
    except OSError as reason:
        raise error(f"{file} cannot be read: {one_line(reason)}. {advice}") from reason
    if len(content) > most:
        raise error(f"{file} grew beyond {most:,} bytes while it was read. {advice}")
    try:
        found = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as reason:
        raise error(f"{file} is no JSON: {one_line(reason)}. {advice}") from reason
    if is_deeper(found, MAX_DEPTH):
        raise error(f"{file} is nested more than {MAX_DEPTH} deep. {advice}")
    return found


def is_deeper(value: Any, most: int) -> bool:
    """Whether a JSON value has more than `most` objects and lists inside each other below it."""
    level: list[Any] = [value]
    for _ in range(most + 1):
        level = [item for outer in level for item in _inner(outer)]
        if not level:
            return False
    return True


def _inner(value: Any) -> Iterator[Any]:
    items = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return (item for item in items if isinstance(item, (list, dict)))
