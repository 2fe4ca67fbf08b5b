"""HTTP connections that are closed when a request's head does not arrive, or the last bytes are not read.

uvicorn has no limit of its own for either. When too many connections are open, it would refuse every request; here the
one that was idle longest is closed for the new one.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from serve.settings import Settings

_OWN: Final = 64
SPARE: Final = 24  # what else opens files for a moment: memory that is looked up, a loop, a library
_UNKNOWN: Final = 1 << 20  # where there is no limit, or none that can be read
_SLICE: Final = 4096  # bytes that are parsed at once
_PARSING: Final = 0.005  # seconds that one connection parses before others may
_KEPT: Final = 1 << 16  # bytes that wait to be parsed; beyond, nothing more is taken from the wire


@final
class Connection(H11Protocol):
    """A connection that checks itself every few seconds, and is closed if it made no progress between two checks.

    Args:
        seconds: Between two checks.
        most: How many may be open at once.

    """

    def __init__(self, *args: Any, seconds: float, most: int, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._seconds, self._most = seconds, most
        self._moved = True
        self._unread = bytearray()  # what came and was not parsed yet
        self._next_parse: asyncio.Handle | None = None
        self._still_since = 0.0
        self._next_check: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to check."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self._wake)
        self._still_since = self.loop.time()
        if len(self.connections) > self._most:
            self._make_room()
        self._next_check = self.loop.call_later(self._seconds, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """End it."""
        super().connection_lost(exc)
        for handle in (self._next_check, self._next_parse):
            if handle is not None:
                handle.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse what came, slice by slice: a body may have a chunk for each byte, and other connections wait."""
        if self._refused():
            return
        self._unread += data
        if len(self._unread) > _KEPT:
            self.transport.pause_reading()
        if self._next_parse is None:
            self._parse()

    def _wake(self) -> None:
        """Continue parsing, as the application has read what there was."""
        if self._next_parse is None and self._unread:
            self._next_parse = self.loop.call_soon(self._parse)

    def _parse(self) -> None:
        self._next_parse = None
        until = self.loop.time() + _PARSING
        while self._unread and not self.transport.is_closing():
            if self._refused():  # the rest is read and dropped, so that the answer arrives
                self._unread.clear()
                break
            if self.flow.read_paused:
                return
            if self.loop.time() > until:
                self._next_parse = self.loop.call_soon(self._parse)
                return
            piece = bytes(self._unread[:_SLICE])
            del self._unread[:_SLICE]
            super().data_received(piece)
            self._moved |= self._answering()
        if not self.flow.read_paused:
            self.transport.resume_reading()

    def _refused(self) -> bool:
        """Whether the answer was given without the body, and says that the connection ends."""
        cycle = self.cycle
        return cycle is not None and cycle.response_started and not cycle.keep_alive and cycle.more_body

    def on_response_complete(self) -> None:
        """Note since when the connection is idle."""
        super().on_response_complete()
        self._still_since = self.loop.time()

    def _make_room(self) -> None:
        """Close the connection that was idle longest; the new one only where all others are being answered."""
        still = [each for each in self.connections if isinstance(each, Connection) and not each._answering()]
        longest = min(still, key=lambda each: each._still_since)
        self.connections.discard(longest)  # which uvicorn does later
        longest.transport.abort()

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _check(self) -> None:
        between = self.timeout_keep_alive_task is not None  # requests: uvicorn's own timer runs
        stuck = self.transport.is_closing() or not (self._answering() or between)
        if stuck and not self._moved:
            self.transport.abort()
            return
        self._moved = not stuck
        self._next_check = self.loop.call_later(self._seconds, self._check)


@final
class _Flow(FlowControl):
    """Says when reading goes on."""

    def __init__(self, transport: asyncio.Transport, wake: Callable[[], None]) -> None:
        super().__init__(transport)
        self._wake = wake

    def resume_reading(self) -> None:
        super().resume_reading()
        self._wake()


def connection_class(settings: Settings) -> Any:
    """Return what uvicorn calls for each connection; twice as many may be open as are answered."""
    most = min(2 * settings.connections, descriptors() // 2)
    return partial(Connection, seconds=settings.body_seconds / 2, most=most)


def allow_descriptors() -> None:
    """Let this process open as many connections and files as the system allows; by default it is often only 1,024."""
    with suppress(ImportError, ValueError, OSError):  # there is no such limit, or it may not be changed
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def nearly_out(number: int) -> bool:
    """Whether a file that was just opened under this number leaves few for others: the lowest free one is given."""
    try:
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except (ImportError, ValueError, OSError):
        return False
    return most != resource.RLIM_INFINITY and number >= most - SPARE


def descriptors() -> int:
    """Return how many files and connections may be open beside what Python and the libraries open."""
    try:
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except (ImportError, ValueError, OSError):
        return _UNKNOWN
    return max(4, most - _OWN) if most != resource.RLIM_INFINITY else _UNKNOWN
