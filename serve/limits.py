"""Work under limits: a bounded line, a thread for each, and a clock that ends what is late or has no reader left."""

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
    """Nobody waits for the result any more."""


@final
class Watch(Clock):
    """The clock of one piece of a request's work."""

    def late(self) -> Problem:
        """Return what the caller is told when the time is up."""
        return Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"It takes more than {self.seconds:g} seconds, which is what one request gets. Ask for a smaller network.",
        )

    def cancel(self) -> None:
        """End the work, as nobody reads what it makes; any thread may call it."""
        self.end(Cancelled())


@final
class Line:
    """Places for predictions, and a line in front of them that is never longer than allowed.

    Each has a thread of its own, which ends with it: what a library sets for a thread and an interruption leaves set is
    gone then. All but `_work` happens in the event loop's thread.

    Args:
        threads: How many work at once.
        waiting: How many may wait.
        torch_threads: Of each that works.
        memory: What all of them share.

    """

    def __init__(self, threads: int, waiting: int, torch_threads: int, memory: Memory) -> None:
        self._threads, self._places, self._torch_threads = threads, threads + waiting, torch_threads
        self._memory = memory
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._taken = self._working = 0

    @property
    def taken(self) -> int:
        """How many work or wait."""
        return self._taken

    @property
    def full(self) -> bool:
        """Whether the next one would be told to come back."""
        return self._taken >= self._places

    async def run(self, work: Callable[[], T], watch: Watch, nbytes: int = 0) -> T:
        """Do `work` in a thread under `watch`. When the caller is cancelled, so is the work."""
        future = self.start(work, watch, nbytes)
        outcome = asyncio.wrap_future(future)
        outcome.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # which nobody may wait for any more
        try:
            return await asyncio.shield(outcome)
        except asyncio.CancelledError:
            watch.cancel()
            future.cancel()
            raise

    def start(self, work: Callable[[], T], watch: Watch, nbytes: int = 0) -> "Future[T]":
        """Put `work`, which takes up to `nbytes` of memory, in line, or refuse it when the line is full."""
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
            if future.set_running_or_notify_cancel():  # else its reader left
                self._begin(loop, future, work)

    def _begin(self, loop: asyncio.AbstractEventLoop, future: "Future[T]", work: Callable[[], T]) -> None:
        def done() -> None:
            self._working -= 1
            self._fill(loop)

        def body() -> None:
            try:
                outcome = work()
            except BaseException as error:  # which the reader is told
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
