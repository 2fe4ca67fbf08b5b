"""Work under limits: a bounded queue, a thread for each request, and a time limit that also ends unread work."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from http import HTTPStatus
from typing import Any, TypeVar, final

import torch

from paramgen.serving.clock import Clock, under
from serve.memory import Memory
from serve.problems import RETRY, Problem

T = TypeVar("T")


@final
class Cancelled(Exception):
    """The caller left, so the work is ended."""


@final
class Watch(Clock):
    """The clock of one piece of a request's work."""

    def late(self) -> Problem:
        """Return the problem that the caller gets when the time is up."""
        return Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"It takes more than {self.seconds:g} seconds, which is what one request gets. Request a smaller network.",
        )

    def cancel(self) -> None:
        """End the work, as nobody reads its result; any thread may call it."""
        self.end(Cancelled())


@final
class WorkQueue:
    """A queue of predictions that is never longer than allowed.

    Each prediction has a thread of its own, which ends with it: thread state that an interruption leaves is gone then.
    All but `_work` happens in the event loop's thread.

    Args:
        threads: How many predictions run at once.
        waiting: How many may wait.
        torch_threads: Of each prediction.
        memory: Shared by all of them.

    """

    def __init__(self, threads: int, waiting: int, torch_threads: int, memory: Memory) -> None:
        self._threads, self._most, self._torch_threads = threads, threads + waiting, torch_threads
        self._memory = memory
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._taken = self._working = 0

    @property
    def taken(self) -> int:
        """How many run or wait."""
        return self._taken

    @property
    def full(self) -> bool:
        """Whether the next one would be refused."""
        return self._taken >= self._most

    async def run(self, work: Callable[[], T], watch: Watch, nbytes: int = 0) -> T:
        """Run `work` in a thread under `watch`; when the caller is cancelled, so is the work."""
        future = self.start(work, watch, nbytes)
        outcome = asyncio.wrap_future(future)
        outcome.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be waiting for it
        try:
            return await asyncio.shield(outcome)
        except asyncio.CancelledError:
            watch.cancel()
            future.cancel()
            raise

    def start(self, work: Callable[[], T], watch: Watch, nbytes: int = 0) -> "Future[T]":
        """Queue `work`, which takes up to `nbytes` of memory, or refuse it when the queue is full."""
        if self.full:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS, f"{self._taken} predictions are running or waiting. Try again.", RETRY
            )
        self._memory.refuse_more()
        loop = asyncio.get_running_loop()
        future: Future[T] = Future()
        self._taken += 1
        future.add_done_callback(lambda _: _later(loop, self._leave))
        self._waiting.append((future, lambda: self._work(work, watch, nbytes)))
        self._fill(loop)
        return future

    def _fill(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting and self._working < self._threads:
            future, work = self._waiting.popleft()
            if future.set_running_or_notify_cancel():  # else its caller left
                self._begin(loop, future, work)

    def _begin(self, loop: asyncio.AbstractEventLoop, future: "Future[T]", work: Callable[[], T]) -> None:
        def done() -> None:
            self._working -= 1
            self._fill(loop)

        def body() -> None:
            try:
                outcome = work()
            except BaseException as error:  # which the caller gets
                _later(loop, done)
                future.set_exception(error)
            else:
                _later(loop, done)
                future.set_result(outcome)

        self._working += 1
        try:
            threading.Thread(target=body, name="prediction").start()
        except RuntimeError as error:  # the system has no more of them
            done()
            future.set_exception(error)

    def _work(self, work: Callable[[], T], watch: Watch, nbytes: int) -> T:
        torch.set_num_threads(self._torch_threads)
        with self._memory.reserved(nbytes, watch):
            return under(watch, work)

    def _leave(self) -> None:
        self._taken -= 1

    def close(self) -> None:
        """Start nothing more."""
        while self._waiting:
            self._waiting.popleft()[0].cancel()


def _later(loop: asyncio.AbstractEventLoop, call: Callable[[], Any]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)
