"""A clock over one thread's work: it ends what takes too long or has no reader left, in pure Python, too.

First it asks. Networks are built and traced, and tensors drawn, by many small torch functions, and each looks at the
clock: there the work ends at a place that libraries expect errors at. Where no torch function comes along for half a
second, as in a loop over the nodes of a graph, the interpreter itself raises `Ended` in the thread, again and again
until the thread has left. Nothing ends in the middle of an import, which would leave half a module behind for
everybody. What remains is one long call into compiled code, which ends when it returns: limits on sizes see to that.

Processes would end that, too. They were measured and left: each takes 1.2 s and 284 MiB before its first request,
builds and traces its networks anew (1.5 s for a ViT-B), and would keep its own networks, hypernets and graphs for the
next request. What a thread can hold against the others is memory, for which a process has a limit (`serve.memory`).
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
    """The work is to end. Not an Exception, which a library that builds a network would take for its own."""


class Clock(TorchFunctionMode):
    """Ends the work of the thread that enters it, once `end` was called or so many seconds have passed.

    Whoever entered it meets the reason: what `end` was given, or what `late` returns.
    """

    def __init__(self, seconds: float | int) -> None:
        super().__init__()
        self.seconds = seconds
        self._until: float | None = None
        self._reason: Exception | None = None
        self._asked = 0.0  # when it was first to end, or was last interrupted
        self._thread: int | None = None
        self._lock = threading.Lock()

    def late(self) -> Exception:
        """Return what is raised when the time is up."""
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
        _WATCHMAN.watch(self)
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
        """Take this thread from the clock; no interruption comes after that, not even one that is under way."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                _interrupt(thread, None)

    def look(self, now: float) -> bool:
        """Interrupt the thread where it was to end some time ago; return whether it is still at work."""
        with self._lock:
            if self._thread is None:
                return False
            if self.reason is None:
                return True
            self._asked = self._asked or now
            if now - self._asked >= GRACE and not _imports(sys._current_frames().get(self._thread)):
                self._asked = now
                _interrupt(self._thread, Ended)
            return True


def under(clock: Clock, work: Callable[[], T]) -> T:
    """Do `work` under a clock, in the thread that calls, which had better do nothing else afterwards."""
    try:
        with clock:
            return work()
    except Ended:  # in the last moment
        clock.leave()
        raise (clock.reason or clock.late()) from None


def apart(clock: Clock, work: Callable[[], T]) -> T:
    """Do `work` under a clock in a thread of its own, and wait: what an interruption leaves set is gone with it."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(under(clock, work))
        except BaseException as error:  # which the caller meets
            done.set_exception(error)

    thread = threading.Thread(target=run, name="clocked")
    thread.start()
    try:
        return done.result()
    except BaseException:
        clock.end(TimeoutError("Nobody waits for it any more."))
        raise


@final
class _Watchman:
    """One thread that looks at all clocks; it waits while there are none."""

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


_WATCHMAN: Final = _Watchman()


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported there."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False


def _interrupt(thread: int, kind: type[BaseException] | None) -> None:
    """Have the interpreter raise an exception in a thread at its next step, or take back one that waits there."""
    if hasattr(ctypes, "pythonapi"):
        given = None if kind is None else ctypes.py_object(kind)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), given)
