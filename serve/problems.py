"""Errors as `application/problem+json` (RFC 9457): the one line of the command line, and never a traceback."""

import json
import re
from collections.abc import Mapping
from errno import EDQUOT, EMFILE, ENFILE, ENOMEM, ENOSPC
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
    """Return the problem for the caller; of an unexpected error, only the request's id."""
    if isinstance(error, Problem):
        return error
    if short := shortage(error):
        return short
    if isinstance(error, ParamgenError):
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, one_line(error))
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"An unexpected error. Report it with the id {request_id}.")


def shortage(error: BaseException | None) -> Problem | None:
    """Return the problem that the machine is short of memory, disk or files, if an error or its cause says so."""
    while error is not None:
        said = ""
        if isinstance(error, OSError):
            said = _SHORT.get(error.errno or 0, "")
        elif isinstance(error, MemoryError) or (type(error) is RuntimeError and _NO_MEMORY.search(str(error))):
            said = _SHORT[ENOMEM]
        if said:
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{said}. Try again later.", RETRY)
        error = error.__cause__
    return None


RETRY: Mapping[str, str] = {"Retry-After": "5"}
# torch has no class of its own for the host's memory, nor Python for threads.
_NO_MEMORY = re.compile(r"can't (?:allocate memory|start new thread)")
_SHORT: Mapping[int, str] = {
    ENOSPC: "The disk is full",
    EDQUOT: "The disk is full",
    ENOMEM: "The server is out of memory",
    EMFILE: "The server has too many files open",
    ENFILE: "The server has too many files open",
}


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
