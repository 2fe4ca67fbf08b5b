"""The one reader of small JSON objects from untrusted files: size first, then syntax, then what it is."""

import json
from pathlib import Path
from typing import Any

from paramgen.errors import ParamgenError, one_line


def read_json_object(
    file: Path, *, most: int, error: type[ParamgenError], advice: str = "Get it again."
) -> dict[str, Any]:
    """Return the JSON object in a file.

    Args:
        file: A UTF-8 text.
        most: The largest size in bytes that is read.
        error: What is raised for anything else.
        advice: The end of the message: what to do next.

    Raises:
        ParamgenError: An `error`: the file is too large, cannot be read, or holds no JSON object.

    """
    try:
        size = file.stat().st_size
        if size > most:
            raise error(f"{file} has {size:,} bytes; allowed are {most:,}. {advice}")
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as reason:
        raise error(f"{file} cannot be read: {one_line(reason)}. {advice}") from reason
    except (ValueError, RecursionError) as reason:
        raise error(f"{file} is no JSON: {one_line(reason)}. {advice}") from reason
    if not isinstance(found, dict):
        raise error(f"{file} holds no JSON object. {advice}")
    return found
