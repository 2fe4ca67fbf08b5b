"""Files that are read while they are predicted.

Tensors come in the initializer's order, a reader needs them in the file's. So every file goes to the disk, at the
planned offsets, and readers follow as far as it is complete. Slots that are drawn one by one are requested in the
file's order and can be read at once; with a hypernet, readers may wait for its last tensor. The price: every byte is
written once more. The gain: memory stays as small as for a folder, a slow reader holds a file and not a thread, several
readers share one prediction, a broken download resumes, and the file's digest is known at its end. A range is predicted
alone, into a file with holes. No file has a name, so nothing is left when the process ends; each holds a descriptor,
and their number is limited, too.
"""

import asyncio
import base64
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from errno import EMFILE, ENFILE
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import Final, final

from serve.connections import SPARE, descriptors, nearly_out
from serve.limits import Cancelled, Watch, WorkQueue
from serve.problems import RETRY, Problem, shortage
from serve.recent import Recent

PIECE: Final = 1 << 18
DIGESTS: Final = 6_000_000  # bytes of all that are remembered
_DIGEST: Final = 400  # bytes of one
_LEAST: Final = 16_000_000  # bytes that a disk has, unless it is full

Work = Callable[["Spooled"], None]


@final
class Spooled:
    """A file that is being written or read, complete from byte `start` to byte `ready`."""

    def __init__(self, folder: Path | None, start: int, nbytes: int, watch: Watch, *, hashed: bool) -> None:
        self._file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - it lives as long as this does
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._sha256 = sha256() if hashed else None
        self._hashed = 0
        self.watch = watch
        self.nbytes = nbytes  # counted against the spool's limit
        self.start = start
        self.ready = start
        self.readers = 0
        self.done = False
        self.error: BaseException | None = None
        self.future: Future[None] | None = None

    def cancel(self) -> None:
        """End the writer, or take it out of the queue."""
        self.watch.cancel()
        if self.future is not None:
            self.future.cancel()

    @property
    def descriptor(self) -> int:
        """The file descriptor for the writer."""
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
        """Note that the file is complete up to `position`; called by the writer's thread."""
        if self._sha256 is not None:
            while self._hashed < position:
                piece = os.pread(self.descriptor, min(1 << 20, position - self._hashed), self._hashed)
                self._sha256.update(piece)
                self._hashed += len(piece)
        self._loop.call_soon_threadsafe(self._notify, position)

    def finish(self, error: BaseException | None) -> None:
        """Note that the writer has ended."""
        self.error, self.done = error, True
        self._notify(self.ready)

    def _notify(self, position: int) -> None:
        self.ready = max(self.ready, position)
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, position: int) -> None:
        """Wait until the file is complete beyond `position`, or at its end; raise what its writer raised."""
        while self.ready <= position and not self.done:
            await self._changed.wait()
        if self.error is not None and self.ready <= position:
            raise _copy_of(self.error)

    async def ended(self) -> None:
        """Wait for the writer to end."""
        while not self.done:
            await self._changed.wait()
        if self.error is not None:
            raise _copy_of(self.error)

    async def read(self, position: int, stop: int) -> bytes:
        """Return a piece from `position` on, as soon as there is one."""
        await self.until(position)
        count = min(PIECE, stop - position, self.ready - position)
        # It was written or read recently, so it is usually in memory, and a thread would cost more.
        return os.pread(self.descriptor, count, position)

    def close(self) -> None:
        """Free the disk space."""
        self._file.close()


@final
class Spool:
    """All such files, within a number of bytes and of files; complete ones stay until their space is needed."""

    def __init__(self, queue: WorkQueue, *, folder: Path | None, most: int, files: int, seconds: float) -> None:
        self._queue, self._folder, self._most, self._seconds = queue, folder, most, seconds
        self._most_files = min(files, descriptors() // 2)
        self._shared: OrderedDict[str, Spooled] = OrderedDict()
        self._digests: Recent[str] = Recent(DIGESTS, DIGESTS // 2)
        self.nbytes = 0
        self.files = 0

    def hindrance(self) -> str | None:
        """Return why no file can be begun now, if none can."""
        try:
            TemporaryFile(dir=self._folder, buffering=0).close()
            disk = os.statvfs(self._folder or gettempdir())
        except OSError as error:
            short = shortage(error)
            return short.detail if short else f"The spool cannot be written: {error.strerror}."
        if disk.f_bavail * disk.f_frsize < _LEAST and not self._oldest():
            return "The disk is full."
        if self.files >= self._most_files and not self._oldest():
            return _MANY
        return None

    def digest(self, key: str) -> str | None:
        """Return the digest of the file of that key, if it was complete once."""
        return self._digests.get(key)

    def find(self, key: str) -> Spooled | None:
        """Return the file of that key, if there is one; call `leave` after reading."""
        found = self._shared.get(key)
        if found is None or found.error is not None:
            return None
        self._shared.move_to_end(key)
        found.readers += 1
        return found

    def begin(
        self,
        work: Work,
        *,
        start: int,
        nbytes: int,
        key: str,
        memory: int,
        owner: str = "",
        hashed: bool = False,
    ) -> Spooled:
        """Begin to write a file, which others find under `key`.

        Args:
            work: Writes it.
            start: Its first complete byte.
            nbytes: Bytes that it takes on the disk.
            key: Its key in the spool.
            memory: Bytes of memory that the work takes.
            owner: The caller whose share of the digests it counts against.
            hashed: Whether it gets a digest; then it must be complete from its first byte on.

        """
        self._make_room(nbytes, files=1)
        watch = Watch(self._seconds)
        spooled = self._opened(start, nbytes, watch, hashed=hashed)
        try:
            spooled.future = future = self._queue.start(lambda: work(spooled), watch, memory)
        except BaseException:
            spooled.close()
            raise
        self.nbytes += nbytes
        self.files += 1
        spooled.readers = 1
        self._shared[key] = spooled
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: _hand_over(loop, lambda: self._end(spooled, key, future, owner)))
        return spooled

    def _opened(self, start: int, nbytes: int, watch: Watch, *, hashed: bool) -> Spooled:
        """Open a file; where too many are open in this process, idle ones are closed."""
        while True:
            try:
                spooled = Spooled(self._folder, start, nbytes, watch, hashed=hashed)
            except OSError as error:
                oldest = self._oldest()
                if error.errno not in (EMFILE, ENFILE):
                    detail = f"The spool cannot be written: {error.strerror}. Its operator knows why."
                    raise shortage(error) or Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, RETRY) from error
                if oldest is None:
                    raise
                self._release(self._shared.pop(oldest))
                continue
            for _ in range(SPARE if nearly_out(spooled.descriptor) else 0):
                if (oldest := self._oldest()) is None:
                    break
                self._release(self._shared.pop(oldest))
            return spooled

    @contextmanager
    def room(self, nbytes: int) -> Iterator[None]:
        """Count bytes that are written elsewhere against the limit, while the block runs."""
        self._make_room(nbytes, files=0)
        self.nbytes += nbytes
        try:
            yield
        finally:
            self.nbytes -= nbytes

    def leave(self, spooled: Spooled, key: str, *, served: bool = False) -> None:
        """Note that a reader has left; a file without readers is kept if it is complete, and else ended.

        Args:
            spooled: The file.
            key: Its key in the spool.
            served: Whether the reader got everything requested. Then the rest is made, too, as most of the work may be
                done: where an initializer makes all slots together, one byte costs as much as all.

        """
        spooled.readers -= 1
        if spooled.readers > 0 or (served and not spooled.done):
            return
        if not spooled.done:
            self._forget(spooled, key)  # later requests get a new one
            spooled.cancel()
        elif self._shared.get(key) is not spooled:
            self._release(spooled)

    def _end(self, spooled: Spooled, key: str, future: "Future[None]", owner: str) -> None:
        spooled.finish(Cancelled() if future.cancelled() else future.exception())
        if spooled.error is not None:
            self._forget(spooled, key)
        elif spooled.digest is not None:
            self._digests.put(key, spooled.digest, _DIGEST, owner)
        if spooled.readers == 0 and self._shared.get(key) is not spooled:
            self._release(spooled)

    def _forget(self, spooled: Spooled, key: str) -> None:
        if self._shared.get(key) is spooled:
            del self._shared[key]

    def _release(self, spooled: Spooled) -> None:
        self.nbytes -= spooled.nbytes
        self.files -= 1
        spooled.close()

    def _oldest(self) -> str | None:
        """Return the key of the least recently used file without readers."""
        return next((key for key, each in self._shared.items() if each.done and not each.readers), None)

    def _make_room(self, nbytes: int, files: int) -> None:
        while self.nbytes + nbytes > self._most or self.files + files > self._most_files:
            oldest = self._oldest()
            if oldest is None:
                fits = self.nbytes + nbytes <= self._most
                many = f"{nbytes:,} bytes do not fit beside what others read at the moment."
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{_MANY if fits else many} Try again.", RETRY)
            self._release(self._shared.pop(oldest))

    def close(self) -> None:
        """End all work and close all files."""
        while self._shared:
            _, spooled = self._shared.popitem()
            if not spooled.done:
                spooled.cancel()
            elif not spooled.readers:
                self._release(spooled)


_MANY: Final = "As many files are read as may be open."


def _hand_over(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)


def _copy_of(error: BaseException) -> BaseException:
    """Return the exception to raise for one reader: a copy, as a traceback grows with every raise."""
    if isinstance(error, Problem):
        return Problem(error.status, error.detail, error.headers)
    return shortage(error) or error
