"""What the routes share: the line, the spool, and what is remembered of earlier requests."""

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, TypeVar, final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from paramgen.graphs.wire import graph_to_json
from serve.limits import Line, Watch
from serve.orders import Network, Order, completed, network_of, order_of
from serve.pushing import HEADER, pushing
from serve.ranges import Part, part_of, unchanged
from serve.recent import Recent
from serve.rendering import folder_zip, places_in, weights
from serve.schemas import PredictRequest
from serve.settings import Settings
from serve.spool import Spool, Spooled
from serve.stream import Streamed, while_connected

T = TypeVar("T")
WANT: str = "want-repr-digest"
DIGEST: str = "Repr-Digest"


@final
class Service:
    """One per application. Everything but the work in the line's threads happens in the event loop's."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.line = Line(settings.predictions, settings.waiting, settings.torch_threads)
        self.spool = Spool(self.line, folder=settings.spool, most=settings.spool_bytes, seconds=settings.seconds)
        self._networks: Recent[Network] = Recent(settings.remembered)
        self._orders: Recent[Order] = Recent(8 * settings.remembered)  # the same network's, mostly

    async def work(self, call: Callable[[], T]) -> T:
        """Do something in a thread of the line."""
        return await self.line.run(call, Watch(self.settings.seconds))

    async def graph(self, request: Request, arch: str, overrides: Mapping[str, Any]) -> str:
        """Return the JSON of a named network's graph."""
        network = await while_connected(request.receive, self._network(arch, overrides, None))
        return await self.work(lambda: graph_to_json(network.architecture, network.graph))

    async def order(self, request: Request, asked: PredictRequest) -> Order:
        """Return what is asked for, planned; built and traced unless it was not long ago."""
        key = _key(asked)
        order = self._orders.get(key)
        if order is None:
            order = await while_connected(request.receive, self._new_order(asked))
            self._orders.put(key, order)
        return order

    async def _new_order(self, asked: PredictRequest) -> Order:
        whole = asked if asked.prompt is None else await self.work(lambda: completed(asked))
        network = await self._network(whole.arch, whole.overrides, whole.graph)
        return await self.work(lambda: order_of(network, whole, self.settings))

    async def _network(self, arch: str | None, overrides: Mapping[str, Any], graph: Any) -> Network:
        key = _sha256([arch, overrides, graph])
        network = self._networks.get(key)
        if network is None:
            network = await self.work(lambda: network_of(arch, overrides, graph, self.settings))
            self._networks.put(key, network)
        return network

    async def weights(self, request: Request, order: Order) -> Response:
        """Answer with the weights file, or a part of it."""
        headers = self._headers(order.etag, order.file)
        if unchanged(request.headers, order.etag):
            return Response(None, 304, headers)
        part = part_of(request.headers, order.etag, order.size)
        if WANT in request.headers:
            await while_connected(request.receive, self._whole(order))
        digest = self.spool.digest(order.etag)
        headers |= _extent(part, order.size) | ({DIGEST: digest} if digest else {})
        if request.method == "HEAD":
            return Response(None, 206 if part.partial else 200, headers)
        spooled, key = self._spooled(order, part)
        return Streamed(self.spool, spooled, part, headers, key=key, limits=self.settings)

    async def folder(self, request: Request, order: Order) -> Response:
        """Answer with the zip of the folder."""
        key = _sha256(["folder", order.etag, order.prediction.asked.to_json()])  # it records what was asked
        etag = f'"{key}"'
        headers = self._headers(etag, "start.zip")
        if unchanged(request.headers, etag):
            return Response(None, 304, headers)
        work = folder_zip(order, self.settings.spool)
        spooled = self.spool.find(key) or self.spool.begin(work, start=0, nbytes=2 * order.size, key=key)
        try:
            await while_connected(request.receive, spooled.ended())
            size = spooled.size()
            part = part_of(request.headers, etag, size)
        except BaseException:
            self.spool.leave(spooled, key)
            raise
        headers |= _extent(part, size) | {"Content-Type": "application/zip"}
        return Streamed(self.spool, spooled, part, headers, key=key, limits=self.settings)

    async def push(self, request: Request, order: Order, repo: str) -> Response:
        """Push the folder to the Hub, by the caller's token, which is in a header and is kept nowhere."""
        watch = Watch(self.settings.seconds)
        token = request.headers.get(HEADER, "")
        work = pushing(order, repo, token, parent=self.settings.spool, watch=watch)
        with self.spool.room(order.size):
            return JSONResponse(await while_connected(request.receive, self.line.run(work, watch)))

    def _spooled(self, order: Order, part: Part) -> tuple[Spooled, str | None]:
        """Return a file that holds the part or will: everybody's, or one of its own for a part of it."""
        if found := self.spool.find(order.etag):
            return found, order.etag
        if part.stop - part.start < order.size:
            nbytes = sum(place.entry.nbytes for place in places_in(order, part.start, part.stop))
            work = weights(order, part.start, part.stop)
            return self.spool.begin(work, start=part.start, nbytes=nbytes, key=None), None
        return self._begin(order), order.etag

    def _begin(self, order: Order) -> Spooled:
        return self.spool.begin(weights(order, 0, order.size), start=0, nbytes=order.size, key=order.etag)

    async def _whole(self, order: Order) -> None:
        """See to it that the digest is known."""
        if self.spool.digest(order.etag) is not None:
            return
        spooled = self.spool.find(order.etag) or self._begin(order)
        try:
            await spooled.ended()
        finally:
            self.spool.leave(spooled, order.etag)

    def _headers(self, etag: str, file: str) -> dict[str, str]:
        return {
            "ETag": etag,
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f'attachment; filename="{file}"',
            # With keys, a cache that others share must not answer for us.
            "Cache-Control": f"{'private' if self.settings.keys else 'public'}, max-age=3600",
        }

    def close(self) -> None:
        """End all work."""
        self.spool.close()
        self.line.close()


def _extent(part: Part, size: int) -> dict[str, str]:
    length = {"Content-Length": str(part.stop - part.start)}
    return {**length, "Content-Range": f"bytes {part.start}-{part.stop - 1}/{size}"} if part.partial else length


def _key(asked: PredictRequest) -> str:
    return _sha256(asked.model_dump(exclude={"form", "push"}))


def _sha256(data: Any) -> str:
    return sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
