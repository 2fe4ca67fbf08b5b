"""The gate in front of every route: request ids, access, problems, headers, log lines and counters."""

import re
import secrets
import time
from http import HTTPStatus
from typing import Any, Final, final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.access import Access
from serve.limits import Cancelled
from serve.monitoring import LOGGER, Metrics
from serve.page_words import ROUTES, on_the_page
from serve.problems import RETRY, Problem, problem_of, problem_response
from serve.stream import Gone, drop_body

OPEN: Final = ("/", "/health", "/ready", "/docs", "/openapi.json")
OPEN_BELOW: Final = "/static/"
_ID: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)
_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


@final
class Gate:
    """ASGI middleware: whatever fails behind it, the caller gets an answer without a traceback, or a truncated one."""

    def __init__(self, app: ASGIApp, *, access: Access, metrics: Metrics, most: int) -> None:
        self._app, self._access, self._metrics, self._most = app, access, metrics, most
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit a request, pass it on, and record it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        passage = _Passage(scope, receive, send)
        self._inside += 1
        try:
            if scope["path"] not in OPEN and not scope["path"].startswith(OPEN_BELOW):
                passage.admitted(self._access.admit(scope, Headers(scope=scope)))
                self._refuse_many()
            await self._app(scope, passage.receive, passage.send)
        except Exception as error:  # the last place to answer
            await passage.fail(error)
        finally:
            self._inside -= 1
            passage.record(self._metrics)

    def _refuse_many(self) -> None:
        if self._inside > self._most:
            detail = f"{self._most} requests are being answered, which is all there is room for. Try again."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, RETRY)


class _Passage:
    """One request from its admission to its last byte."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        self.id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        self.caller = ""
        self._scope, self._receive, self._send = scope, receive, send
        self._began = time.perf_counter()
        self._status, self._sent = 0, 0
        self._unread = "transfer-encoding" in headers or headers.get("content-length", "0").strip("0") != ""
        self._ends = False
        scope.setdefault("state", {})["request_id"] = self.id

    def admitted(self, caller: str) -> None:
        """Note the caller."""
        self.caller = self._scope["state"]["caller"] = caller

    async def receive(self) -> Message:
        """Return the next message of a request, and note whether its body is complete."""
        message = await self._receive()
        self._unread &= message["type"] == "http.request" and bool(message.get("more_body", False))
        return message

    async def send(self, message: Message) -> None:
        """Send the next message of an answer; the connection ends with it where the body was not read."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.id
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            self._ends = self._unread
            if self._ends:
                headers["Connection"] = "close"
        self._sent += len(message.get("body", b""))
        if self._ends and message["type"] == "http.response.body" and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await drop_body(self.receive)
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def fail(self, error: Exception) -> None:
        """Answer with a problem if nothing was sent yet; else truncate the answer, so that the caller notices."""
        if isinstance(error, (Gone, Cancelled, ClientDisconnect)):
            self._status = self._status or 499  # as nginx counts callers who left
            return
        problem = problem_of(error, self.id)
        if getattr(self._scope.get("route"), "path", "") in ROUTES:
            problem = Problem(problem.status, on_the_page(problem.detail), problem.headers)
        if problem.status >= 500 and not isinstance(error, Problem):
            LOGGER.error("unexpected error", exc_info=error, extra={"fields": {"request_id": self.id}})
        if not self._status:  # the server closes a connection whose answer is incomplete
            await problem_response(problem, self.id)(self._scope, self.receive, self.send)

    def record(self, metrics: Metrics) -> None:
        seconds = time.perf_counter() - self._began
        route: Any = self._scope.get("route")
        pattern = getattr(route, "path", "") or "none"
        method = self._scope["method"] if self._scope["method"] in ("GET", "HEAD", "POST") else "other"
        metrics.count(route=pattern, method=method, status=self._status, seconds=seconds, sent=self._sent)
        fields = {
            "request_id": self.id,
            "caller": self.caller,
            "method": method,
            "route": pattern,
            "status": self._status,
            "seconds": round(seconds, 4),
            "bytes": self._sent,
        }
        LOGGER.info("request", extra={"fields": fields})
