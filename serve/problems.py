"""Errors as `application/problem+json` (RFC 9457): the one line of the command line, and never a traceback."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, final

from starlette.responses import Response

from paramgen.errors import ParamgenError, one_line


@final
class Problem(Exception):
    """A request that is refused: the status, and one line that says why and what to do next."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def problem_of(error: Exception, request_id: str) -> Problem:
    """Return what the caller is told of an error; of an unexpected one, only the request's id."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ParamgenError):
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, one_line(error))
    if isinstance(error, MemoryError):
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The server is out of memory. Try again later.", RETRY)
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"An unexpected error. Report it with the id {request_id}.")


RETRY: Mapping[str, str] = {"Retry-After": "5"}


def problem_response(problem: Problem, request_id: str) -> Response:
    """Return the answer that describes a problem."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "request_id": request_id,
    }
    body = json.dumps(content).encode()
    headers = {**problem.headers, "Cache-Control": "no-store"}
    return Response(body, problem.status, headers, media_type="application/problem+json")
