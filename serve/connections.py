"""HTTP connections that are given up when a head does not come to its end, or the last bytes are not taken.

uvicorn has no limit of its own for either. And when too many are open, it would refuse every request; here whoever
stood still longest makes room for whoever comes.
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
_TURN: Final = 0.005  # seconds that one connection parses before others get their turn
_KEPT: Final = 1 << 16  # bytes that wait to be parsed; beyond, nothing more is taken from the wire


@final
class Connection(H11Protocol):
    """Looks at itself every few seconds; whoever stands still between two looks is dropped.

    Args:
        seconds: Between two looks.
        most: How many may be open at once.

    """

    def __init__(self, *args: Any, seconds: float, most: int, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._seconds, self._most = seconds, most
        self._moved = True
        self._unread = bytearray()  # what came and was not parsed yet
        self._turn: asyncio.Handle | None = None
        self._still_since = 0.0
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self._wake)
        self._still_since = self.loop.time()
        if len(self.connections) > self._most:
            self._make_room()
        self._look = self.loop.call_later(self._seconds, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """End it."""
        super().connection_lost(exc)
        for handle in (self._look, self._turn):
            if handle is not None:
                handle.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse what came, slice after slice: a body may have a chunk for each of its bytes, and others wait."""
        if self._refused():
            return
        self._unread += data
        if len(self._unread) > _KEPT:
            self.transport.pause_reading()
        if self._turn is None:
            self._parse()

    def _wake(self) -> None:
        """Go on parsing, as the application took what there was."""
        if self._turn is None and self._unread:
            self._turn = self.loop.call_soon(self._parse)

    def _parse(self) -> None:
        self._turn = None
        until = self.loop.time() + _TURN
        while self._unread and not self.transport.is_closing():
            if self._refused():  # what comes is taken from the wire, so that the answer arrives, and that is all
                self._unread.clear()
                break
            if self.flow.read_paused:
                return
            if self.loop.time() > until:
                self._turn = self.loop.call_soon(self._parse)
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
        """Note since when nothing is asked for."""
        super().on_response_complete()
        self._still_since = self.loop.time()

    def _make_room(self) -> None:
        """Drop who asked for nothing longest; the newcomer himself only where all are being answered."""
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
        self._look = self.loop.call_later(self._seconds, self._check)


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
