"""The answer that is sent while it is written; a reader who left or is too slow is dropped."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TypeVar, final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serve.problems import RETRY, Problem
from serve.ranges import ByteRange
from serve.settings import Settings
from serve.spool import Spool, Spooled

T = TypeVar("T")


@final
class Gone(Exception):
    """The caller has left, or reads too slowly."""


@final
class Streamed(Response):
    """A response with bytes of a spooled file; nothing is sent before the first byte is there, as it may still fail."""

    def __init__(
        self,
        spool: Spool,
        spooled: Spooled,
        part: ByteRange,
        headers: Mapping[str, str],
        *,
        key: str,
        limits: Settings,
    ) -> None:
        super().__init__(None, HTTPStatus.PARTIAL_CONTENT if part.partial else HTTPStatus.OK, dict(headers))
        self._spool, self._spooled, self._part, self._key, self._limits = spool, spooled, part, key, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the headers, then piece after piece."""
        served = False
        try:
            await asyncio.wait_for(while_connected(receive, self._send_all(send)), timeout=self._limits.reader_seconds)
            served = True
        except TimeoutError as error:
            raise Gone from error
        finally:
            self._spool.leave(self._spooled, self._key, served=served)

    async def _send_all(self, send: Send) -> None:
        position, stop = self._part.start, self._part.stop
        if position < stop:
            await self._spooled.until(position)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while position < stop:
            piece = await self._spooled.read(position, stop)
            position += len(piece)
            message = {"type": "http.response.body", "body": piece, "more_body": position < stop}
            await asyncio.wait_for(send(message), timeout=self._limits.idle_seconds)
        if self._part.start == stop:
            await send({"type": "http.response.body", "body": b""})


async def while_connected(receive: Receive, work: Awaitable[T]) -> T:
    """Return the result of `work`, and cancel it as soon as the caller leaves; the body must have been read before."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Gone
    finally:
        for pending in (task, gone):
            pending.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@final
class Bodies:
    """Reads bodies, within limits for each and for all that are being read or wait to be parsed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.nbytes = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Read a whole body within the limits; its bytes count until the block ends."""
        most = self._settings.max_body
        stated = request.headers.get("content-length", "0")
        if not stated.isdecimal() or int(stated[:20]) > most:
            raise _too_large(most)
        body = bytearray()
        try:
            try:
                await asyncio.wait_for(self._fill(body, request), self._settings.body_seconds)
            except TimeoutError as error:
                late = f"The body did not arrive within {self._settings.body_seconds:g} seconds."
                raise Problem(HTTPStatus.REQUEST_TIMEOUT, late) from error
            yield bytes(body)
        finally:
            self.nbytes -= len(body)

    async def _fill(self, body: bytearray, request: Request) -> None:
        async for piece in request.stream():
            body += piece
            self.nbytes += len(piece)
            if len(body) > self._settings.max_body:
                raise _too_large(self._settings.max_body)
            if self.nbytes > self._settings.bodies and len(body) > _SMALL:
                detail = "Others send too much at the moment. Try again."
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, RETRY)


def _too_large(most: int) -> Problem:
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {most:,} bytes.")


async def drop_body(receive: Receive) -> None:
    """Read and drop what a refused caller still sends; closing the connection before that would lose the answer.

    A caller who has the answer stops sending; others are disconnected after a few seconds.
    """

    async def drop() -> None:
        more = True
        while more:
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)

    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(drop(), timeout=_LINGER_SECONDS)


_LINGER_SECONDS = 2
_SMALL = 1 << 16  # bytes of a body that is read however much others send
