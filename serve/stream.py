"""The answer that is read while it is written. A reader who is gone, or too slow, is dropped."""

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping
from http import HTTPStatus
from typing import TypeVar, final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serve.problems import Problem
from serve.ranges import Part
from serve.settings import Settings
from serve.spool import Spool, Spooled

T = TypeVar("T")


@final
class Gone(Exception):
    """The caller has left, or does not read."""


@final
class Streamed(Response):
    """Bytes of a spooled file. Nothing is sent before the first of them is there: until then it can still fail."""

    def __init__(
        self,
        spool: Spool,
        spooled: Spooled,
        part: Part,
        headers: Mapping[str, str],
        *,
        key: str | None,
        limits: Settings,
    ) -> None:
        super().__init__(None, HTTPStatus.PARTIAL_CONTENT if part.partial else HTTPStatus.OK, dict(headers))
        self._spool, self._spooled, self._part, self._key, self._limits = spool, spooled, part, key, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, then piece after piece."""
        try:
            await asyncio.wait_for(while_connected(receive, self._send_all(send)), timeout=self._limits.reader_seconds)
        except asyncio.TimeoutError as error:
            raise Gone from error
        finally:
            self._spool.leave(self._spooled, self._key)

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
    """Return what `work` does, and cancel it as soon as the caller is gone. The body must have been read."""
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


async def body_of(request: Request, settings: Settings) -> bytes:
    """Read the whole body, counting; its stated length alone may be refused."""
    stated = request.headers.get("content-length", "0")
    too_large = Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {settings.max_body:,} bytes.", _CLOSE
    )
    if not stated.isdecimal() or int(stated[:20]) > settings.max_body:
        raise too_large

    async def read() -> bytes:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > settings.max_body:
                raise too_large
        return bytes(body)

    try:
        return await asyncio.wait_for(read(), settings.body_seconds)
    except asyncio.TimeoutError as error:
        late = f"The body did not arrive within {settings.body_seconds:g} seconds."
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, late, _CLOSE) from error


async def drop_body(receive: Receive) -> None:
    """Read what a refused caller still sends, and forget it: a connection closed before that takes the answer along.

    A caller who has the answer stops sending; one who does not is cut off after a few seconds.
    """

    async def drop() -> None:
        more = True
        while more:
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)

    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(drop(), timeout=_LINGER_SECONDS)


_LINGER_SECONDS = 2
_CLOSE = {"Connection": "close"}
