"""A time limit for work in one thread, which also ends work whose reader is gone, in pure Python loops too.

Networks are built and traced, and tensors drawn, by many small torch functions, and each checks
the clock: there the work ends at a point where libraries expect errors. Where no torch function is called for half a
second, as in a loop over the nodes of a graph, the interpreter itself raises `Ended` in the thread, repeatedly until
the thread has left. Nothing ends in the middle of an import, which would leave half a module behind for all threads.
One long call into compiled code ends only when it returns: limits on sizes keep such calls short.

Processes could be ended at any time. They were measured and not taken: each takes 1.2 s and 284 MiB before its first
request, builds and traces its networks anew (1.5 s for a ViT-B), and would keep networks, hypernets and graphs of its
own for the next request. Memory is limited apart from that, for the whole process (`serve.memory`).
"""

import ctypes
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from types import FrameType, TracebackType
from typing import Any, Final, TypeVar, final

from torch.overrides import TorchFunctionMode

T = TypeVar("T")

GRACE: Final = 0.5  # seconds in which work is to end by itself, and between two interruptions
_TICK: Final = 0.1
_IMPORTING: Final = "<frozen importlib._bootstrap>"


class Ended(BaseException):
    """Raised where the work is to end; no Exception, as libraries that build a network catch those."""


class Clock(TorchFunctionMode):
    """Ends the work of the thread that enters it, once `end` is called or `seconds` have passed.

    The thread that entered it gets the reason as an exception: what `end` was given, or what `late` returns.
    """

    def __init__(self, seconds: float | int) -> None:
        super().__init__()
        self.seconds = seconds
        self._until: float | None = None
        self._reason: Exception | None = None
        self._interrupted_at = 0.0  # when it was first to end, or was last interrupted
        self._thread: int | None = None
        self._lock = threading.Lock()

    def late(self) -> Exception:
        """Return the exception that is raised when the time is up."""
        return TimeoutError(f"It takes more than {self.seconds:g} seconds.")

    def end(self, reason: Exception) -> None:
        """End the work, now or when it begins; any thread may call it. The first reason counts."""
        self._reason = self._reason or reason

    @property
    def reason(self) -> Exception | None:
        """Why the work is to end, if it is."""
        if self._reason is None and self._until is not None and time.monotonic() > self._until:
            self._reason = self.late()
        return self._reason

    def check(self) -> None:
        """Raise if the work is to end."""
        if self.reason is not None and not _imports(sys._getframe()):
            raise Ended

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.check()
        return func(*args, **(kwargs or {}))

    def __enter__(self) -> "Clock":
        if self.reason is not None:
            raise self.reason
        self._until = time.monotonic() + self.seconds
        super().__enter__()  # type: ignore[no-untyped-call]
        self._thread = threading.get_ident()
        _WATCHER.watch(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.leave()
        except Ended:  # in the last moment; the next interruption is half a second away
            self.leave()
        super().__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]
        if isinstance(error, Ended):
            raise self.reason or self.late() from None

    def leave(self) -> None:
        """Stop watching this thread; no interruption comes after that, not even a pending one."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                _interrupt(thread, None)

    def look(self, now: float) -> bool:
        """Interrupt the thread if it should have ended some time ago; return whether it is still working."""
        with self._lock:
            if self._thread is None:
                return False
            if self.reason is None:
                return True
            self._interrupted_at = self._interrupted_at or now
            if now - self._interrupted_at >= GRACE and not _imports(sys._current_frames().get(self._thread)):
                self._interrupted_at = now
                _interrupt(self._thread, Ended)
            return True


def under(clock: Clock, work: Callable[[], T]) -> T:
    """Run `work` under a clock in the calling thread, which should do nothing else afterwards."""
    try:
        with clock:
            return work()
    except Ended:  # in the last moment
        clock.leave()
        raise (clock.reason or clock.late()) from None


def apart(clock: Clock, work: Callable[[], T]) -> T:
    """Run `work` under a clock in a new thread and wait: thread state that an interruption leaves is gone with it."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(under(clock, work))
        except BaseException as error:  # which is raised in the caller
            done.set_exception(error)

    thread = threading.Thread(target=run, name="clocked")
    thread.start()
    try:
        return done.result()
    except BaseException:
        clock.end(TimeoutError("Nobody waits for it any more."))
        raise


@final
class _Watcher:
    """One thread that checks all clocks; it waits while there are none."""

    def __init__(self) -> None:
        self._clocks: list[Clock] = []
        self._some = threading.Condition()
        self._started: threading.Thread | None = None

    def watch(self, clock: Clock) -> None:
        with self._some:
            self._clocks.append(clock)
            if self._started is None or not self._started.is_alive():  # the first time, or after a fork
                self._started = threading.Thread(target=self._run, name="clocks", daemon=True)
                self._started.start()
            self._some.notify()

    def _run(self) -> None:
        while True:
            with self._some:
                while not self._clocks:
                    self._some.wait()
                clocks = list(self._clocks)
            now = time.monotonic()
            left = [clock for clock in clocks if not clock.look(now)]
            with self._some:
                self._clocks = [clock for clock in self._clocks if clock not in left]
            time.sleep(_TICK)


_WATCHER: Final = _Watcher()


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported there."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False


def _interrupt(thread: int, kind: type[BaseException] | None) -> None:
    """Have the interpreter raise an exception in a thread at its next instruction, or cancel a pending one."""
    if hasattr(ctypes, "pythonapi"):
        given = None if kind is None else ctypes.py_object(kind)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), given)
