"""The memory that all requests share: reserved before it is used, watched meanwhile, and limited by the system.

A prediction's peak is known before its first tensor, and it waits until it fits beside the others. What a library needs
to build an unknown network is not known beforehand: where the process comes near its limit, the newest work is ended.
`python -m serve` also has the system refuse memory beyond the limit: an allocation fails and one request is refused,
instead of the whole process being killed.
"""

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Final, final

from paramgen.serving.clock import Clock
from paramgen.serving.memory import machine_memory
from serve.problems import RETRY, Problem
from serve.settings import Settings

BUILDING: Final = 256 * 2**20  # reserved for work whose peak is unknown
_OWN: Final = 768 * 2**20  # libraries, once all of them are imported
_SHARE: Final = 0.8  # of the machine's memory, unless the operator sets a number
_FULL, _ENDED = (
    0.85,
    0.92,
)  # fractions of the limit: above the first nothing begins, above the second the newest work is ended
_PATIENCE: Final = 10.0  # seconds to wait for the memory of others
_REST: Final = 1.0  # seconds for ended work to free its memory
_KEPT: Final = 128 * 2**20  # bytes that are not worth freeing
_OUT: Final = "The server is out of memory. Try again later."


def limit_of(settings: Settings) -> int | None:
    """Return how many bytes the process may take: the operator's setting, or most of the machine's memory."""
    found = settings.memory or machine_memory()
    return found if found is None or settings.memory else int(found * _SHARE)


@final
class Memory:
    """What predictions have reserved, and what the process uses."""

    def __init__(self, settings: Settings) -> None:
        self.most = limit_of(settings)
        own = _OWN + settings.remembered_bytes
        self._room = None if self.most is None else max(self.most - own, self.most // 4)
        known = [bound for bound in (settings.prediction_memory, self._room) if bound is not None]
        self.one = min(known, default=None)
        self._taken = 0
        self._working: list[Clock] = []
        self._changed = threading.Condition()
        self._ended_at = 0.0
        self._given_back = 0

    def refuse_more(self) -> None:
        """Refuse new work while memory is short and other work runs."""
        if self.short:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, _OUT, RETRY)

    @property
    def short(self) -> bool:
        """Whether memory is short, and running work will free some."""
        return bool(self._working) and self.pressed

    @property
    def pressed(self) -> bool:
        """Whether the process is near its limit."""
        return self._above(_FULL)

    @property
    def idle(self) -> bool:
        """Whether nothing runs, and the allocator keeps memory of earlier work."""
        return not self._working and taken() > self._given_back + _KEPT

    def give_back(self) -> None:
        """Have the allocator return free memory to the system, where it can."""
        with suppress(AttributeError, OSError, TypeError):
            ctypes.CDLL(None).malloc_trim(0)
        self._given_back = taken()

    @contextmanager
    def reserved(self, nbytes: int, clock: Clock) -> Iterator[None]:
        """Wait until `nbytes` fit beside the reservations of others, and reserve them; refuse after too long a wait."""
        wanted = nbytes if self._room is None else min(nbytes, self._room)
        until = time.monotonic() + _PATIENCE
        with self._changed:
            while self._room is not None and self._taken and self._taken + wanted > self._room:
                if clock.reason is not None:
                    raise clock.reason
                if time.monotonic() > until:
                    raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, _OUT, RETRY)
                self._changed.wait(0.1)
            self._taken += wanted
            self._working.append(clock)
        try:
            yield
        finally:
            with self._changed:
                self._taken -= wanted
                self._working.remove(clock)
                self._changed.notify_all()

    def look(self) -> None:
        """End the newest work where the process is near its limit; called repeatedly."""
        now = time.monotonic()
        if now - self._ended_at < _REST or not self._above(_ENDED):
            return
        with self._changed:
            going = [clock for clock in self._working if clock.reason is None]
        if going:
            self._ended_at = now
            going[-1].end(Problem(HTTPStatus.SERVICE_UNAVAILABLE, _OUT, RETRY))

    def _above(self, part: float) -> bool:
        return self.most is not None and taken() > part * self.most

    def bind(self) -> None:
        """Have the system refuse memory beyond the limit, where it can."""
        if self.most is None:
            return
        with suppress(ImportError, ValueError, OSError):
            import resource

            least, most = resource.getrlimit(resource.RLIMIT_DATA)
            bound = self.most + max(0, _mapped() - taken())  # mapped memory that was never used takes none
            if most == resource.RLIM_INFINITY or bound < most:
                resource.setrlimit(resource.RLIMIT_DATA, (bound, most))


def taken() -> int:
    """Return the bytes of memory that only this process uses; 0 where the system does not say."""
    try:
        _, resident, shared, *_ = Path("/proc/self/statm").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _mapped() -> int:
    """Return the bytes that the system counts against this process's limit."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    found = [line for line in status.splitlines() if line.startswith("VmData:")]
    return int(found[0].split()[1]) * 1024 if found else 0
