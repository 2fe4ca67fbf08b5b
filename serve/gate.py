"""The gate in front of every route: request ids, access, problems, headers, log lines and counters."""

import re
import secrets
import time
from http import HTTPStatus
from typing import Any, Final, final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.access import Access
from serve.limits import Cancelled
from serve.monitoring import LOGGER, Metrics
from serve.problems import RETRY, Problem, problem_of, problem_response
from serve.stream import Gone, drop_body

OPEN: Final = ("/", "/health", "/ready", "/docs", "/openapi.json")
OPEN_BELOW: Final = "/static/"
_ID: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)
_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


@final
class Gate:
    """ASGI middleware. Whatever happens behind it, the caller gets an answer without a traceback, or a cut one."""

    def __init__(self, app: ASGIApp, *, access: Access, metrics: Metrics, most: int) -> None:
        self._app, self._access, self._metrics, self._most = app, access, metrics, most
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, and see it out."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        passage = _Passage(scope, send)
        self._inside += 1
        try:
            if scope["path"] not in OPEN and not scope["path"].startswith(OPEN_BELOW):
                passage.caller = self._access.admit(scope, Headers(scope=scope))
                self._refuse_many()
            await self._app(scope, receive, passage.send)
        except Exception as error:  # the last place to answer
            await passage.fail(error, receive)
        finally:
            self._inside -= 1
            passage.record(self._metrics)

    def _refuse_many(self) -> None:
        if self._inside > self._most:
            detail = f"{self._most} requests are being answered, which is all there is room for. Try again."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, RETRY)


def _unfinished(message: Message) -> Message:
    return {**message, "more_body": True} if message["type"] == "http.response.body" else message


class _Passage:
    """One request on its way."""

    def __init__(self, scope: Scope, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        self.caller = ""
        self._scope, self._send = scope, send
        self._begun = time.perf_counter()
        self._status, self._sent = 0, 0
        scope.setdefault("state", {})["request_id"] = self.id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.id
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)
        self._sent += len(message.get("body", b""))

    async def fail(self, error: Exception, receive: Receive) -> None:
        """Answer with a problem if nothing was answered yet; else cut the answer, so that it cannot pass for whole."""
        if isinstance(error, (Gone, Cancelled)):
            self._status = self._status or 499  # as nginx counts callers who left
            return
        problem = problem_of(error, self.id)
        if problem.status >= 500 and not isinstance(error, Problem):
            LOGGER.error("unexpected error", exc_info=error, extra={"fields": {"request_id": self.id}})
        if self._status:  # the server closes a connection whose answer is not whole
            return
        answer = problem_response(problem, self.id)
        if "Connection" in problem.headers:  # a body may still be under way
            await answer(self._scope, receive, lambda message: self.send(_unfinished(message)))
            await drop_body(receive)
            await self.send({"type": "http.response.body", "body": b""})
        else:
            await answer(self._scope, receive, self.send)

    def record(self, metrics: Metrics) -> None:
        seconds = time.perf_counter() - self._begun
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
