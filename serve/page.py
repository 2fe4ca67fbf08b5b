"""The page at `/` and what it asks for: its files, a network's picture, a prediction's statistics, the folder."""

import asyncio
import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from typing import Final, final

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from paramgen.drawing import draw_html
from paramgen.errors import ParamgenError, one_line
from serve.before_training import memory_of
from serve.orders import Order
from serve.page_words import on_the_page
from serve.problems import Problem
from serve.routes import ANSWERS, REFUSALS, NamedOrder, order_of_body, service_of
from serve.service import Service
from serve.spool import PIECE
from serve.statistics import LINE, MEMORY, lines_of
from serve.stream import Gone, while_connected

router = APIRouter(responses=REFUSALS)

KINDS: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@router.get("/", include_in_schema=False)
async def page() -> Response:
    """Return the page, which loads nothing from elsewhere and runs nothing that is not its own."""
    headers = {"Content-Security-Policy": policy(), "Cache-Control": "no-cache"}
    return Response(_static()["index.html"], media_type=KINDS["html"], headers=headers)


@router.get("/static/{name}", include_in_schema=False)
async def static(name: str) -> Response:
    """Return a file of the page."""
    found = _static().get(name)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return Response(found, media_type=KINDS[name.rpartition(".")[2]], headers={"Cache-Control": "no-cache"})


@router.post("/v1/drawing", include_in_schema=False)
async def drawing(request: Request) -> Response:
    """Return the picture of a network's graph as an HTML document, to be shown in a frame."""
    order = (await order_of_body(request)).order
    prediction = order.prediction
    title = one_line(prediction.architecture.spec)
    drawn = service_of(request).work(lambda: draw_html(prediction.graph, title=title))
    text = await while_connected(request.receive, drawn)
    return Response(text, media_type=KINDS["html"], headers={"Content-Security-Policy": "sandbox allow-scripts"})


@router.post("/v1/statistics", include_in_schema=False)
async def statistics(request: Request) -> Response:
    """Return lines of JSON about a prediction, each as soon as its tensor is there."""
    return Lines(service_of(request), (await order_of_body(request)).order)


@router.get("/v1/folder", responses=ANSWERS, response_class=Response)
async def folder(request: Request, found: NamedOrder) -> Response:
    """Return a zip of the folder that predict writes for a named network; `set=key=value` may be repeated."""
    return await service_of(request).folder(request, found.order)


@final
class Lines(Response):
    """A spooled file whose length nobody knows before its end."""

    media_type = "application/x-ndjson"

    def __init__(self, service: Service, order: Order) -> None:
        super().__init__(None, headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._service = service
        requested = json.dumps(order.prediction.requested.to_json(), sort_keys=True)
        self._key = f"lines {order.etag} {requested}"  # which its first line repeats
        nbytes = LINE * (1 + len(order.prediction.architecture.manifest.filled))
        spool = service.spool
        found = spool.find(self._key)
        self._spooled = found or spool.begin(
            lines_of(order),
            start=0,
            nbytes=nbytes,
            key=self._key,
            memory=order.memory + MEMORY + memory_of(order.prediction),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send lines as they are written."""
        limits = self._service.settings
        try:
            await asyncio.wait_for(while_connected(receive, self._send_all(send)), timeout=limits.reader_seconds)
        except TimeoutError as error:
            raise Gone from error
        finally:
            self._service.spool.leave(self._spooled, self._key)

    async def _send_all(self, send: Send) -> None:
        await self._spooled.until(0)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        position = 0
        while piece := await self._next(position):
            position += len(piece)
            message = {"type": "http.response.body", "body": piece, "more_body": True}
            await asyncio.wait_for(send(message), timeout=self._service.settings.idle_seconds)
        try:
            await self._spooled.until(position)
            last = b""
        except (ParamgenError, Problem) as error:
            last = json.dumps({"error": on_the_page(one_line(error))}).encode() + b"\n"
        await send({"type": "http.response.body", "body": last})

    async def _next(self, position: int) -> bytes:
        """Return the next piece, or nothing at the end, whether that is a good one or not."""
        try:
            return await self._spooled.read(position, position + PIECE)
        except (ParamgenError, Problem):
            return b""


def policy() -> str:
    """Return what a browser may do for this page; a picture's frame inherits it, so its script is named, too."""
    drawn = files("paramgen.drawing")
    script = (drawn / "page.js").read_text(encoding="utf-8")
    styles = [f"\n{(drawn / 'page.css').read_text(encoding='utf-8')}"]
    styles.append((drawn / "picture.css").read_text(encoding="utf-8"))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {_digest(script)}",
            f"style-src 'self' {' '.join(map(_digest, styles))}",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


@cache
def _static() -> dict[str, bytes]:
    folder = files(__name__.partition(".")[0]) / "static"
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.rpartition(".")[2] in KINDS}
