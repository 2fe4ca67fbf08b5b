"""HTTP connections that are given up when a head does not come to its end, or the last bytes are not taken.

uvicorn has no limit of its own for either. And when too many are open, it would refuse every request; here whoever
stood still longest makes room for whoever comes.
"""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any, final

from uvicorn.protocols.http.h11_impl import H11Protocol

from serve.settings import Settings


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
        self._still_since = 0.0
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look."""
        super().connection_made(transport)
        self._still_since = self.loop.time()
        if len(self.connections) > self._most:
            self._make_room()
        self._look = self.loop.call_later(self._seconds, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """End it."""
        super().connection_lost(exc)
        if self._look is not None:
            self._look.cancel()

    def data_received(self, data: bytes) -> None:
        """Note when a request has begun."""
        super().data_received(data)
        self._moved |= self._answering()

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


def connection_class(settings: Settings) -> Any:
    """Return what uvicorn calls for each connection; twice as many may be open as are answered."""
    return partial(Connection, seconds=settings.body_seconds / 2, most=2 * settings.connections)


def allow_descriptors() -> None:
    """Let this process open as many connections and files as the system allows; by default it is often only 1,024."""
    with suppress(ImportError, ValueError, OSError):  # there is no such limit, or it may not be changed
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
