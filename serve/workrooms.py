"""Folders that are written before they are sent, each locked by its writer, so that abandoned ones can be removed.

Files of the spool have no names, so nothing is left of them; a folder has one. The lock on it is the system's and ends
with the process, in any container; so a starting server knows which folders a killed server left.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir, mkdtemp
from typing import Final

try:
    import fcntl
except ImportError:  # pragma: no cover - a system without such locks: abandoned folders stay
    fcntl = None  # type: ignore[assignment]

PREFIX: Final = "paramgen-serve-"


@contextmanager
def workroom(parent: Path | None) -> Iterator[Path]:
    """Make an empty, locked folder, and remove it afterwards."""
    folder, lock = _locked(parent)
    try:
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _locked(parent: Path | None) -> tuple[Path, int | None]:
    while True:
        folder = Path(mkdtemp(prefix=PREFIX, dir=parent))
        if fcntl is None:
            return folder, None
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # a starting server removed it first
            continue
        except OSError:
            folder.rmdir()
            raise
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)


def remove_abandoned(parent: Path | None) -> None:
    """Remove this user's folders that no running server holds."""
    if fcntl is None:
        return
    for folder in Path(parent or gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid == os.getuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    rmtree(folder)
            finally:
                os.close(lock)
