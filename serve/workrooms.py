"""Folders that are written before they are sent, each locked by who writes it: what a killed server left is removed.

Files of the spool have no names, so nothing is left of them. A folder has one. The lock on it is the system's and ends
with the process, in whatever container that ran; so a server that starts knows which folders nobody writes any more.
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
except ImportError:  # pragma: no cover - a system without such locks: what is left stays there
    fcntl = None  # type: ignore[assignment]

PREFIX: Final = "paramgen-serve-"


@contextmanager
def workroom(parent: Path | None) -> Iterator[Path]:
    """Make an empty folder that nobody else removes, and remove it afterwards."""
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
        except FileNotFoundError:  # a server that starts found it first
            continue
        except OSError:
            folder.rmdir()
            raise
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)


def remove_abandoned(parent: Path | None) -> None:
    """Remove the folders of this user that no living server writes."""
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
