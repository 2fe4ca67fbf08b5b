"""Refuse what is no regular file before it is read: a pipe would be waited for, and a device may have no end."""

import os
import stat
from pathlib import Path
from typing import Final

from paramgen.errors import ParamgenError, one_line

_KINDS: Final = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def refuse_irregular(path: Path, error: type[ParamgenError], advice: str = "Get it again.") -> None:
    """Raise `error` if a pipe, a socket or a device has this path, or a file that may not be read.

    What is not there is for the reader to say. Readers of safetensors say so of every file that they cannot open.

    Args:
        path: What is to be read; a link is followed.
        error: What is raised.
        advice: The end of the message: what to do next.

    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    kind = next((kind for is_one, kind in _KINDS if is_one(mode)), None)
    if kind is not None:
        raise error(f"{path} is {kind}; only regular files are read. {advice}")
    if stat.S_ISREG(mode):
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        except FileNotFoundError:  # it was there a moment ago
            return
        except OSError as reason:
            raise error(f"{path} cannot be read: {one_line(reason.strerror)}. {advice}") from reason
