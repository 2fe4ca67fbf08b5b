"""A hidden folder beside a target, `.NAME.work`, with what long work has done: it outlives a process that is killed.

The same work goes on there; the folder is removed when the work has ended. It says what work it belongs to.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, final

from paramgen.errors import OutputError
from paramgen.storage.folder import hidden_name, write_text
from paramgen.storage.json_file import read_json_object

SETTINGS: Final = "settings.json"
_MAX_SETTINGS: Final = 1_000_000
_LOCK: Final = "lock"


@final
class WorkFolder:
    """The folder of one target while this process works there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def end(self) -> None:
        """Remove the folder: the work has ended, or cannot."""
        shutil.rmtree(self.path, ignore_errors=True)


@contextmanager
def work_folder(target: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> Iterator[WorkFolder]:
    """Yield the hidden folder of a target, which holds what the same work left there.

    Args:
        target: What `checked_target` returned.
        settings: All that decides the result, as JSON.
        overwrite: Whether what other work left there may be lost.

    Raises:
        OutputError: It belongs to other work, or another process is at it.

    """
    path = target.with_name(f"{hidden_name(target.name)}.work")
    made = not target.parent.exists()
    path.mkdir(parents=True, exist_ok=True)
    try:
        with _alone(path, target):
            _begin(path, target, settings, overwrite=overwrite)
            yield WorkFolder(path)
    finally:
        if not _has_work(path):
            shutil.rmtree(path, ignore_errors=True)
        if made and not any(target.parent.iterdir()):
            target.parent.rmdir()


@contextmanager
def _alone(path: Path, target: Path) -> Iterator[None]:
    descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OutputError(
            f"Another process is at work on {str(target)!r}. Wait for it, or type another folder: --out NAME"
        ) from error
    except OSError:  # some network disks have no locks
        pass
    try:
        yield
    finally:
        os.close(descriptor)


def _has_work(path: Path) -> bool:
    """Whether anything was done there."""
    return path.exists() and any(each.name not in (SETTINGS, _LOCK) for each in path.iterdir())


def _begin(path: Path, target: Path, settings: Mapping[str, Any], *, overwrite: bool) -> None:
    """Say whose work it is, or refuse it where it is other work's."""
    file, wanted = path / SETTINGS, json.loads(json.dumps(settings))
    advice = f"To begin anew, delete {path}"
    if file.exists():
        found = read_json_object(file, most=_MAX_SETTINGS, error=OutputError, advice=advice)
        if found == wanted:
            return
        if not overwrite and _has_work(path):
            other = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
            raise OutputError(
                f"Work for {str(target)!r} was begun with another {other[0]!r} and did not end. Type the same command "
                f"again to go on, --overwrite to begin anew, or another folder: --out NAME"
            )
    for each in path.iterdir():
        if each.name != _LOCK and each.is_file():
            each.unlink()
    write_text(file, json.dumps(wanted) + "\n")
