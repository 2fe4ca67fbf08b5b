"""What the routes share: the queue, the spool, and the networks and orders of earlier requests."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, TypeVar, final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from paramgen.graphs.graph_json import graph_to_json
from serve.limits import Watch, WorkQueue
from serve.memory import BUILDING, Memory
from serve.orders import Network, Order, completed, network_of, order_of
from serve.pushing import HEADER, pushing
from serve.ranges import ByteRange, range_of, unchanged
from serve.reading import json_of
from serve.recent import Recent
from serve.rendering import folder_zip, places_in, recipe_text, weights
from serve.schemas import PredictRequest, checked_form, validated
from serve.settings import Settings
from serve.spool import Spool, Spooled, Work
from serve.stream import Bodies, Streamed, while_connected
from serve.workrooms import remove_abandoned

T = TypeVar("T")
WANT: str = "want-repr-digest"
DIGEST: str = "Repr-Digest"
SMALL: Final = 10_000  # bytes of a body that is parsed in the event loop
_NOTE: Final = 600  # bytes that one takes
_NOTES: Final = 6_000_000  # of all
_ORDERS: Final = 64  # of one network
_RECIPE: Final = 1 << 20  # bytes that a recipe takes in the spool
_LOOK: Final = 0.2  # seconds between two checks of the memory


@final
@dataclass(frozen=True, kw_only=True)
class Found:
    """An order, and how it is to be answered."""

    order: Order
    form: str
    push: str | None


@final
@dataclass(frozen=True, kw_only=True)
class _Note:
    """The keys under which the order of an earlier body is remembered."""

    network: str
    order: str
    form: str
    push: str | None


@final
@dataclass(frozen=True, eq=False)
class _RememberedNetwork:
    """A network and its orders, which are forgotten together."""

    network: Network
    orders: "OrderedDict[str, Order]" = field(default_factory=OrderedDict)

    def keep(self, key: str, order: Order, most: int) -> int:
        """Add an order, dropping older ones if needed; return the bytes of all."""
        self.orders[key] = order
        while len(self.orders) > 1 and (len(self.orders) > _ORDERS or self.nbytes > most):
            self.orders.popitem(last=False)
        return self.nbytes

    @property
    def nbytes(self) -> int:
        return self.network.nbytes + sum(order.nbytes for order in tuple(self.orders.values()))


@final
class Service:
    """The state of one application; all but the work in the queue's threads happens in the event loop's thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.memory = Memory(settings)
        self.bodies = Bodies(settings)
        self.queue = WorkQueue(settings.predictions, settings.waiting, settings.torch_threads, self.memory)
        self.spool = Spool(
            self.queue,
            folder=settings.spool,
            most=settings.spool_bytes,
            files=settings.spool_files,
            seconds=settings.seconds,
        )
        remove_abandoned(settings.spool)
        self._share = settings.remembered_bytes // 2
        self._networks: Recent[_RememberedNetwork] = Recent(settings.remembered_bytes, self._share)
        self._notes: Recent[_Note] = Recent(_NOTES, _NOTES // 2)

    async def attend(self) -> None:
        """Check the memory regularly; cancelled when the application ends."""
        while True:
            await asyncio.sleep(_LOOK)
            self.memory.look()
            if self.memory.pressed:  # remembered networks are dropped first
                self._networks.clear()
            if self.memory.idle:
                with suppress(RuntimeError):  # no thread can be started
                    await asyncio.to_thread(self.memory.give_back)

    def hindrance(self) -> str | None:
        """Return why a prediction would be refused now, if it would."""
        if self.queue.full:
            return "The queue is full."
        if self.memory.short:
            return "Memory is short."
        return self.spool.hindrance()

    async def work(self, call: Callable[[], T]) -> T:
        """Run something in a thread of the queue."""
        return await self.queue.run(call, Watch(self.settings.seconds), BUILDING)

    async def graph(self, request: Request, arch: str, overrides: Mapping[str, Any]) -> str:
        """Return the JSON of a named network's graph."""
        owner, key = caller_of(request), _sha256([arch, overrides, None])

        def made() -> str:
            known = self._known(key, arch, overrides, None)
            self._networks.put(key, known, known.nbytes, owner)
            return graph_to_json(known.network.architecture, known.network.graph)

        return await while_connected(request.receive, self.work(made))

    async def order(self, request: Request, given: PredictRequest | bytes) -> Found:
        """Return a request's planned order; unless it is remembered, its network is built and traced in a thread."""
        digest = await self._digest(given)
        note = self._notes.get(digest)
        known = None if note is None else self._networks.get(note.network)
        order = None if note is None or known is None else known.orders.get(note.order)
        if note is not None and order is not None:
            return Found(order=order, form=note.form, push=note.push)
        owner = caller_of(request)
        return await while_connected(request.receive, self.work(lambda: self._made(given, digest, owner)))

    async def _digest(self, given: PredictRequest | bytes) -> str:
        if isinstance(given, PredictRequest):
            return _sha256(given.model_dump())
        if len(given) < SMALL:
            return sha256(given).hexdigest()
        return await asyncio.to_thread(lambda: sha256(given).hexdigest())

    def _made(self, given: PredictRequest | bytes, digest: str, owner: str) -> Found:
        """Parse a body if it is one, and plan its order. Called in a thread of the queue."""
        settings = self.settings
        if isinstance(given, bytes):
            given = checked_form(validated(PredictRequest, json_of(given, settings.max_depth, settings.max_values)))
        request = completed(given)
        key = _sha256([request.arch, request.overrides, request.graph])
        which = _sha256(request.model_dump(exclude={"graph", "prompt", "form", "push"}))
        known = self._known(key, request.arch, request.overrides, request.graph)
        order = known.orders.get(which) or order_of(known.network, request, settings, self.memory.one)
        self._networks.put(key, known, known.keep(which, order, self._share), owner)
        note = _Note(network=key, order=which, form=given.form, push=given.push)
        self._notes.put(digest, note, _NOTE + len(given.push or ""), owner)
        return Found(order=order, form=given.form, push=given.push)

    def _known(self, key: str, arch: str | None, overrides: Mapping[str, Any], graph: Any) -> _RememberedNetwork:
        found = self._networks.get(key)
        return _RememberedNetwork(network_of(arch, overrides, graph, self.settings)) if found is None else found

    async def weights(self, request: Request, order: Order) -> Response:
        """Answer with the weights file, or a part of it."""
        headers = self._headers(order.etag, order.file)
        if unchanged(request.headers, order.etag):
            return Response(None, 304, headers)
        part = range_of(request.headers, order.etag, order.size)
        if WANT in request.headers and request.method != "HEAD":  # HEAD alone computes nothing
            await while_connected(request.receive, self._whole(order, caller_of(request)))
        digest = self.spool.digest(order.etag)
        headers |= _extent(part, order.size) | ({DIGEST: digest} if digest else {})
        if request.method == "HEAD":
            return Response(None, 206 if part.partial else 200, headers)
        spooled, key = self._spooled(order, part, caller_of(request))
        return Streamed(self.spool, spooled, part, headers, key=key, limits=self.settings)

    async def folder(self, request: Request, order: Order) -> Response:
        """Answer with the zip of the folder."""
        work = folder_zip(order, self.settings.spool)
        return await self._made_whole(request, order, "weights.zip", "application/zip", work, nbytes=2 * order.size)

    async def recipe(self, request: Request, order: Order) -> Response:
        """Answer with the recipe of the folder: everything is computed, and its digest is sent."""
        return await self._made_whole(
            request, order, "recipe.json", "application/json", recipe_text(order), nbytes=_RECIPE
        )

    async def _made_whole(
        self, request: Request, order: Order, file: str, media: str, work: Work, *, nbytes: int
    ) -> Response:
        """Answer with a file whose length nobody knows before its end."""
        key = _sha256([file, order.etag, order.prediction.requested.to_json()])  # it records what was requested
        etag = f'"{key}"'
        headers = self._headers(etag, file)
        if unchanged(request.headers, etag):
            return Response(None, 304, headers)
        spooled = self.spool.find(key) or self.spool.begin(work, start=0, nbytes=nbytes, key=key, memory=order.memory)
        try:
            await while_connected(request.receive, spooled.ended())
            size = spooled.size()
            part = range_of(request.headers, etag, size)
        except BaseException:
            self.spool.leave(spooled, key)
            raise
        headers |= _extent(part, size) | {"Content-Type": media}
        return Streamed(self.spool, spooled, part, headers, key=key, limits=self.settings)

    async def push(self, request: Request, order: Order, repo: str) -> Response:
        """Push the folder to the Hub, by the caller's token, which is in a header and is not stored."""
        watch = Watch(self.settings.seconds)
        token = request.headers.get(HEADER, "")
        work = pushing(order, repo, token, parent=self.settings.spool, watch=watch)
        with self.spool.room(order.size):
            return JSONResponse(await while_connected(request.receive, self.queue.run(work, watch, order.memory)))

    def _spooled(self, order: Order, part: ByteRange, owner: str) -> tuple[Spooled, str]:
        """Return a file that holds the range or will: the whole file, or one of the tensors in the range."""
        if found := self.spool.find(order.etag):
            return found, order.etag
        if part.stop - part.start >= order.size or not order.prediction.resolved.slot_by_slot:
            # Where an initializer makes all slots together, a range costs as much as the whole.
            return self._begin(order, owner), order.etag
        places, head = places_in(order, part.start, part.stop), len(order.plan.heads[order.file])
        start = 0 if part.start < head else places[0].offset
        stop = places[-1].offset + places[-1].entry.nbytes if places else head
        key = f"{order.etag} {start}-{stop}"
        if found := self.spool.find(key):
            return found, key
        nbytes = sum(place.entry.nbytes for place in places)
        work = weights(order, start, stop)
        return self.spool.begin(work, start=start, nbytes=nbytes, key=key, memory=order.memory), key

    def _begin(self, order: Order, owner: str) -> Spooled:
        return self.spool.begin(
            weights(order, 0, order.size),
            start=0,
            nbytes=order.size,
            key=order.etag,
            memory=order.memory,
            owner=owner,
            hashed=True,
        )

    async def _whole(self, order: Order, owner: str) -> None:
        """Compute the whole file, so that its digest is known."""
        if self.spool.digest(order.etag) is not None:
            return
        spooled = self.spool.find(order.etag) or self._begin(order, owner)
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
            # With keys, a shared cache must not answer for the server.
            "Cache-Control": f"{'private' if self.settings.keys else 'public'}, max-age=3600",
        }

    def close(self) -> None:
        """End all work."""
        self.spool.close()
        self.queue.close()


def caller_of(request: Request) -> str:
    """Return the short name under which the gate let a caller in."""
    return str(getattr(request.state, "caller", ""))


def _extent(part: ByteRange, size: int) -> dict[str, str]:
    length = {"Content-Length": str(part.stop - part.start)}
    return {**length, "Content-Range": f"bytes {part.start}-{part.stop - 1}/{size}"} if part.partial else length


def _sha256(data: Any) -> str:
    return sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
