"""Files that are read while they are predicted.

Tensors come in the start's order, a reader wants them in the file's. So every file goes to the disk, at the offsets
that were planned, and readers follow as far as it is whole. What is drawn slot by slot is asked for in the file's
order, and read at once; of a hypernet, readers may wait for its last tensor. The price: every byte is written once
more. What it buys: memory stays as small as for a folder, a slow reader holds a file and not a thread, several readers
share one prediction, a broken download goes on, and the file's digest is known when it ends. A range alone is predicted
alone, into a file with holes.
"""

import asyncio
import base64
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final, final

from serve.limits import Cancelled, Line, Watch
from serve.problems import RETRY, Problem, shortage
from serve.recent import Recent

PIECE: Final = 1 << 18
DIGESTS: Final = 10_000

Work = Callable[["Spooled"], None]


@final
class Spooled:
    """A file of known or still unknown size, whole from `start` to `ready`; it has readers, and maybe a writer."""

    def __init__(self, folder: Path | None, start: int, nbytes: int, watch: Watch, *, whole: bool) -> None:
        self._file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - it lives as long as this does
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._sha256 = sha256() if whole else None
        self._hashed = 0
        self.watch = watch
        self.nbytes = nbytes  # what it takes of the spool
        self.start = start
        self.ready = start
        self.readers = 0
        self.done = False
        self.error: BaseException | None = None
        self.future: Future[None] | None = None

    def cancel(self) -> None:
        """End the writer, or take it out of the line."""
        self.watch.cancel()
        if self.future is not None:
            self.future.cancel()

    @property
    def descriptor(self) -> int:
        """What the writer writes to."""
        return self._file.fileno()

    def size(self) -> int:
        """Return how many bytes the file has now."""
        return os.fstat(self.descriptor).st_size

    @property
    def digest(self) -> str | None:
        """The file's sha256 as HTTP writes it (RFC 9530); None before it is known."""
        if not self.done or self.error is not None or self._sha256 is None:
            return None
        return f"sha-256=:{base64.b64encode(self._sha256.digest()).decode()}:"

    def advance(self, position: int) -> None:
        """Say that the file is whole up to `position`. Called by the writer's thread."""
        if self._sha256 is not None:
            while self._hashed < position:
                piece = os.pread(self.descriptor, min(1 << 20, position - self._hashed), self._hashed)
                self._sha256.update(piece)
                self._hashed += len(piece)
        self._loop.call_soon_threadsafe(self._notify, position)

    def finish(self, error: BaseException | None) -> None:
        """Say that nothing more is written."""
        self.error, self.done = error, True
        self._notify(self.ready)

    def _notify(self, position: int) -> None:
        self.ready = max(self.ready, position)
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, position: int) -> None:
        """Wait until the file is whole beyond `position`, or at its end; raise what its writer raised."""
        while self.ready <= position and not self.done:
            await self._changed.wait()
        if self.error is not None and self.ready <= position:
            raise _told(self.error)

    async def ended(self) -> None:
        """Wait for the writer to end."""
        while not self.done:
            await self._changed.wait()
        if self.error is not None:
            raise _told(self.error)

    async def read(self, position: int, stop: int) -> bytes:
        """Return a piece from `position` on, as soon as there is one."""
        await self.until(position)
        count = min(PIECE, stop - position, self.ready - position)
        # It was just written, or read by others: as a rule it is in memory, and a thread would cost more.
        return os.pread(self.descriptor, count, position)

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()


@final
class Spool:
    """All such files, within a number of bytes. Whole ones stay for the next reader until their room is needed."""

    def __init__(self, line: Line, *, folder: Path | None, most: int, seconds: float) -> None:
        self._line, self._folder, self._most, self._seconds = line, folder, most, seconds
        self._shared: OrderedDict[str, Spooled] = OrderedDict()
        self._digests: Recent[str] = Recent(DIGESTS)
        self.nbytes = 0

    def digest(self, key: str) -> str | None:
        """Return the digest of the file of that key, if it was whole once."""
        return self._digests.get(key)

    def find(self, key: str) -> Spooled | None:
        """Return the file of that key, to be left when it has been read."""
        found = self._shared.get(key)
        if found is None or found.error is not None:
            return None
        self._shared.move_to_end(key)
        found.readers += 1
        return found

    def begin(self, work: Work, *, start: int, nbytes: int, key: str | None) -> Spooled:
        """Start writing a file; under `key`, others will find it."""
        self._make_room(nbytes)
        watch = Watch(self._seconds)
        spooled = Spooled(self._folder, start, nbytes, watch, whole=key is not None)
        try:
            spooled.future = future = self._line.start(lambda: work(spooled), watch)
        except BaseException:
            spooled.close()
            raise
        self.nbytes += nbytes
        spooled.readers = 1
        if key is not None:
            self._shared[key] = spooled
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: _hand_over(loop, lambda: self._end(spooled, key, future)))
        return spooled

    @contextmanager
    def room(self, nbytes: int) -> Iterator[None]:
        """Count bytes that are written elsewhere for a while."""
        self._make_room(nbytes)
        self.nbytes += nbytes
        try:
            yield
        finally:
            self.nbytes -= nbytes

    def leave(self, spooled: Spooled, key: str | None) -> None:
        """Say that a reader is gone. What nobody else reads is ended or, if it is whole and has a key, kept."""
        spooled.readers -= 1
        if spooled.readers > 0:
            return
        if not spooled.done:
            self._forget(spooled, key)  # whoever comes now gets a new one
            spooled.cancel()
        elif key is None or self._shared.get(key) is not spooled:
            self._release(spooled)

    def _end(self, spooled: Spooled, key: str | None, future: "Future[None]") -> None:
        spooled.finish(Cancelled() if future.cancelled() else future.exception())
        if spooled.error is not None:
            self._forget(spooled, key)
        elif key is not None and spooled.digest is not None:
            self._digests.put(key, spooled.digest)
        if spooled.readers == 0 and (key is None or self._shared.get(key) is not spooled):
            self._release(spooled)

    def _forget(self, spooled: Spooled, key: str | None) -> None:
        if key is not None and self._shared.get(key) is spooled:
            del self._shared[key]

    def _release(self, spooled: Spooled) -> None:
        self.nbytes -= spooled.nbytes
        spooled.close()

    def _make_room(self, nbytes: int) -> None:
        idle = [key for key, spooled in self._shared.items() if spooled.done and not spooled.readers]
        for key in idle:
            if self.nbytes + nbytes <= self._most:
                return
            self._release(self._shared.pop(key))
        if self.nbytes + nbytes > self._most:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{nbytes:,} bytes do not fit beside what others read at the moment. Try again.",
                RETRY,
            )

    def close(self) -> None:
        """End all work and keep nothing."""
        while self._shared:
            _, spooled = self._shared.popitem()
            if not spooled.done:
                spooled.cancel()
            elif not spooled.readers:
                self._release(spooled)


def _hand_over(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)


def _told(error: BaseException) -> BaseException:
    """Return what a reader is told: each its own, as a traceback grows with every raise."""
    if isinstance(error, Problem):
        return Problem(error.status, error.detail, error.headers)
    return shortage(error) or error
