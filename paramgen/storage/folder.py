"""A folder or file appears whole, or not at all: work happens under a hidden name beside it, then it is renamed.

The hidden name, `.NAME.partial-<pid>-<host>-<random>`, says who works there; of a long NAME it has the first letters
and a digest. What a killed process left is removed by the next run for the same target, on the same host and only
once that process is gone: its number is that of no process, and its lock is held by none. Needs a POSIX system.
"""

import ctypes
import fcntl
import hashlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, EFBIG, EINVAL, EIO, ENOSPC, EOPNOTSUPP
from pathlib import Path
from typing import Final

from paramgen.errors import OutputError
from paramgen.storage.unaltered import altered

MARK: Final = "paramgen.json"
"""The file that says that a folder is one of predict's, and so may be overwritten."""

MAX_FILE_NAME: Final = 255
"""Bytes of a name, where the system does not say how many it takes."""

_READABLE: Final = 64  # bytes of a name that stand in its hidden name as they are
_DISK_ERRORS: Final = (ENOSPC, EDQUOT, EFBIG, EIO)
_NAMED: Final = 3  # files in a message
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


@contextmanager
def transaction(target: Path, *, overwrite: bool = False, mark: str = MARK, checked: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `target` when the block ends, or vanishes when it does not end well.

    What must not be overwritten is refused before the block begins; missing parents are made, and unmade on failure.
    `checked` says that `target` is what `checked_target` returned.
    """
    target = target if checked else checked_target(target, overwrite=overwrite, mark=mark)
    partial = _partial(target)
    parents: list[Path] = []
    try:
        with _reported(target):
            _make_parents(target.parent, parents)
            _remove_stale(target)
            partial.mkdir()
        with _locked(partial):
            with _reported(target, only_below=partial):
                yield partial
            with _reported(target):
                _sync_tree(partial)
                replaced = overwrite and (target / mark).is_file()
                if replaced:  # work takes a while
                    _refuse_altered(target, mark, repr(str(target)))
                _publish(partial, target, replaced)
                for folder in (target.parent, *(parent.parent for parent in parents)):
                    _sync(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        _unmake_parents(parents)
        raise


def checked_target(target: Path, *, overwrite: bool = False, mark: str = MARK) -> Path:
    """Return the real path of the folder `target`, or refuse it: nothing but empty or our own folders is replaced.

    The file `mark` in a folder says that it is one of ours, of the kind that is to be written.
    """
    shown = repr(str(target))
    with _reported(target):
        real = Path(os.path.realpath(target))
        _refuse_long_names(real)
        if not os.path.lexists(real):
            return real
        if not real.is_dir():
            raise OutputError(f"{shown} is a file; the output is a folder. Type the name of a new folder.")
        if os.path.ismount(real) or Path.cwd().is_relative_to(real):
            raise OutputError(
                f"{shown} is a mounted disk or holds the current folder, and cannot be replaced. Type a new folder "
                "inside it."
            )
        if not any(real.iterdir()):
            return real
        if not overwrite:
            raise OutputError(f"The folder {shown} exists and is not empty. Type another one, or add --overwrite.")
        if not (real / mark).is_file():
            made = "written" if mark == MARK else "converted"
            raise OutputError(
                f"The folder {shown} was not {made} by paramgen: it has no {mark}, so --overwrite leaves it alone. "
                "Type another folder, or delete it yourself."
            )
        _refuse_altered(real, mark, shown)
    return real


def _refuse_altered(folder: Path, mark: str, shown: str) -> None:
    """Refuse to replace a folder in which something is the user's own: a file, an edited card, trained weights."""
    names = altered(folder, mark)
    if names:
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        raise OutputError(
            f"The folder {shown} holds what paramgen did not write, or not so: "
            f"{', '.join(repr(name) for name in names[:_NAMED])}{more}. --overwrite would lose that. Move it out "
            "of the folder or delete it, or type another folder."
        )


def write_text(path: Path, text: str) -> None:
    """Write a single file in one step, in UTF-8: readers see the old content or the new, never a part."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a single file in one step: readers see the old content or the new, never a part."""
    with _reported(path):
        real = Path(os.path.realpath(path))
        _refuse_long_names(real)
        if path.exists() and not path.is_file():
            raise OutputError(f"{str(path)!r} is not a regular file. Type the name of a file.")
    partial = _partial(real)
    parents: list[Path] = []
    try:
        with _reported(path):
            _make_parents(real.parent, parents)
            _remove_stale(real)
            with open(partial, "xb") as file, _locked(partial):
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(real)
            _sync(real.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        _unmake_parents(parents)
        raise


@contextmanager
def _reported(target: Path, *, only_below: Path | None = None) -> Iterator[None]:
    """Say in one line why `target` cannot be written; of other people's code, only what concerns disk or folder."""
    try:
        yield
    except OSError as error:
        ours = only_below is None or error.errno in _DISK_ERRORS
        if not ours and not str(error.filename).startswith(str(only_below)):
            raise
        reason = error.strerror or error
        raise OutputError(f"Cannot write {str(target)!r}: {reason}. Type another place for the output.") from error


def _partial(target: Path) -> Path:
    return target.with_name(f"{hidden_name(target.name)}.partial-{os.getpid()}-{_host()}-{secrets.token_hex(4)}")


def hidden_name(name: str) -> str:
    """Return how the hidden name for a target begins, which leaves room for the rest of it."""
    content = os.fsencode(name)
    if len(content) <= _READABLE:
        return f".{name}"
    digest = hashlib.blake2b(content, digest_size=8).hexdigest()
    return f".{content[: _READABLE - len(digest) - 1].decode(errors='ignore')}-{digest}"


def _refuse_long_names(target: Path) -> None:
    """Refuse what the file system would refuse in the end, once everything is computed."""
    there = next((folder for folder in (target, *target.parents) if os.path.lexists(folder)), target)
    try:
        allowed = os.pathconf(there, "PC_NAME_MAX")
    except (OSError, ValueError):
        allowed = MAX_FILE_NAME
    for part in target.relative_to(there).parts:
        if len(os.fsencode(part)) > allowed:
            raise OutputError(
                f"The name {part[:40] + '...'!r} has {len(os.fsencode(part)):,} bytes; here a name may have {allowed}. "
                "Type a shorter name for the output."
            )


def _host() -> str:
    """Return a few letters for this computer: on a shared disk, a process number means nothing without it."""
    return hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()


def _remove_stale(target: Path) -> None:
    """Remove what processes of this host that have ended left of earlier attempts at `target`."""
    pattern = re.compile(rf"{re.escape(hidden_name(target.name))}\.partial-(\d+)-{_host()}-[0-9a-f]+")
    for path in target.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match is None or _alive(int(match[1])) or _is_locked(path):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock on what is worked at: a process in another container may not know the number of this one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some network disks have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _is_locked(path: Path) -> bool:
    """Whether a process that lives, wherever it does, is at work there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, so it exists
        return True
    return True


def _make_parents(folder: Path, made: list[Path]) -> None:
    """Create `folder` and what it stands in; `made` receives what did not exist, the outermost first."""
    missing = [folder] if not folder.exists() else []
    while missing and not (parent := missing[-1].parent).exists():
        missing.append(parent)
    for path in reversed(missing):
        with suppress(FileExistsError):  # somebody else made it meanwhile: not ours to remove
            path.mkdir()
            made.append(path)


def _unmake_parents(made: list[Path]) -> None:
    """Remove the folders of `made` that are empty, the innermost first."""
    with suppress(OSError):
        while made:
            made.pop().rmdir()


def _publish(partial: Path, target: Path, replace: bool) -> None:
    """Give `partial` the name of `target`; with `replace`, what has that name is swapped with it, then removed."""
    if not replace:
        partial.rename(target)  # the system refuses if somebody filled the target meanwhile
        return
    if _exchange(partial, target):
        # What cannot be deleted stays hidden for the next run to try again: the new folder is in place.
        shutil.rmtree(partial, ignore_errors=True)
        return
    aside = _partial(target)
    try:
        target.rename(aside)
        partial.rename(target)
    finally:
        if not target.exists() and aside.exists():
            aside.rename(target)
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step and return True, where Linux and the filesystem can."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except AttributeError:
        return False
    status: int = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return status == 0


def _sync_tree(folder: Path) -> None:
    """Bring everything below `folder` to the disk, names last."""
    for path, _, files in os.walk(folder, topdown=False):
        for name in files:
            _sync(Path(path, name))
        _sync(Path(path))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (EINVAL, EOPNOTSUPP):  # some network disks cannot sync a folder
            raise
    finally:
        os.close(descriptor)
