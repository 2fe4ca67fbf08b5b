"""Refuse what is no regular file before it is opened: a pipe would be waited for, and a device may have no end."""

import stat
from pathlib import Path
from typing import Final

from paramgen.errors import ParamgenError

_KINDS: Final = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def refuse_irregular(path: Path, error: type[ParamgenError], advice: str = "Get it again.") -> None:
    """Raise `error` if a pipe, a socket or a device has this path; what is not there is for the reader to say.

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
