"""HTTP connections that are given up when a head does not come to its end, or the last bytes are not taken.

uvicorn has no limit of its own for either.
"""

import asyncio
from typing import Any, final

from uvicorn.protocols.http.h11_impl import H11Protocol


@final
class Connection(H11Protocol):
    """Looks at itself every few seconds; whoever stands still between two looks is dropped."""

    def __init__(self, *args: Any, seconds: float, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._seconds = seconds
        self._moved = True
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look."""
        super().connection_made(transport)
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
