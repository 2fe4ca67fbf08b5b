"""A time limit for code that may never return."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any, Final, NoReturn

from paramgen.errors import OptionError

MAX_SECONDS: Final = 86_400.0
_AGAIN: Final = 1.0  # seconds after which code that swallowed the first interruption gets the next


class TimeUp(BaseException):
    """The time is up. Not an Exception, which the code that is to be ended might catch."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeUp` in what runs inside after so many seconds: loops, sleeps and waits for others end.

    A single call into compiled code is ended when it returns. Signals reach the main thread alone: in other threads,
    and on systems without such timers, nothing is ended.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _end)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except TimeUp:
        signal.setitimer(signal.ITIMER_REAL, 0)  # it may have rung in the line above
        raise
    finally:
        signal.signal(signal.SIGALRM, before)


def checked_seconds(seconds: float) -> float:
    """Return a time limit, or say what is allowed.

    Raises:
        OptionError: It is not a number of seconds within the limits.
    """
    if not (isfinite(seconds) and 0 < seconds <= MAX_SECONDS):
        raise OptionError(
            f"The time limit is {seconds:g} s; allowed are more than 0 and at most {MAX_SECONDS:,.0f}. "
            "Type: --trace-timeout 300"
        )
    return seconds


def _end(number: int, frame: Any) -> NoReturn:
    raise TimeUp
