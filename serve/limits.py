"""Work under limits: a bounded line, a thread each, and a watch that ends what takes too long or has no reader left."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, TypeVar, final

import torch
from torch.overrides import TorchFunctionMode

from serve.problems import RETRY, Problem

T = TypeVar("T")


@final
class Cancelled(Exception):
    """Nobody waits for the result any more."""


@final
class Watch(TorchFunctionMode):
    """Ends a thread's work at its next torch function once it is cancelled, or its time is over.

    Networks are built and traced, and tensors drawn, by many small torch functions, so none of these goes on for long.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._end: float | None = None
        self._cancelled = threading.Event()

    def __enter__(self) -> "Watch":
        self._end = time.monotonic() + self._seconds
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def cancel(self) -> None:
        """End the work; any thread may call it."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise if the work is to end."""
        if self._cancelled.is_set():
            raise Cancelled
        if self._end is not None and time.monotonic() > self._end:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"It takes more than {self._seconds:g} seconds, which is what one request gets. Ask for a smaller "
                "network.",
            )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.check()
        return func(*args, **(kwargs or {}))


@final
class Line:
    """Threads for predictions, and a line in front of them that is never longer than allowed."""

    def __init__(self, threads: int, waiting: int, torch_threads: int) -> None:
        self._places = threads + waiting
        self._taken = 0
        self._pool = ThreadPoolExecutor(threads, "prediction", torch.set_num_threads, (torch_threads,))

    @property
    def taken(self) -> int:
        """How many work or wait."""
        return self._taken

    @property
    def full(self) -> bool:
        """Whether the next one would be told to come back."""
        return self._taken >= self._places

    async def run(self, work: Callable[[], T], watch: Watch) -> T:
        """Do `work` in a thread under `watch`. When the caller is cancelled, so is the work."""
        future = self.start(work, watch)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            watch.cancel()
            future.cancel()
            raise

    def start(self, work: Callable[[], T], watch: Watch) -> "Future[T]":
        """Put `work` in line, or refuse it when the line is full."""
        if self.full:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS, f"{self._taken} predictions are running or waiting. Try again.", RETRY
            )
        loop = asyncio.get_running_loop()

        def guarded() -> T:
            watch.check()
            with watch:
                return work()

        future = self._pool.submit(guarded)  # which may be refused a thread
        self._taken += 1
        future.add_done_callback(lambda _: _later(loop, self._leave))
        return future

    def _leave(self) -> None:
        self._taken -= 1

    def close(self) -> None:
        """Start nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _later(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)
