"""What goes wrong, and when: a plan of faults that a server follows, each a number of times."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

HALF, LOST, REFUSED = "half", "lost", "refused"
"""The connection breaks: in the middle of the body, before the answer to what was done, before anything is done."""


@dataclass
class Fault:
    """For requests of the route `on`, after `skip` of them and `times` times: a status, a break, a wait or an event."""

    on: str
    does: (
        int | str | float | Callable[[Any], None]
    )  # a status, a break, seconds as a float, or a function of the server
    times: int = 1
    skip: int = 0


class Plan:
    """Faults that are still to come."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self.made = 0
        self._lock = Lock()

    def add(self, *faults: Fault) -> None:
        """Have these happen, too."""
        with self._lock:
            self._faults += faults

    def clear(self) -> None:
        """Have no more of them happen."""
        with self._lock:
            self._faults.clear()

    def next(self, route: str) -> int | str | float | Callable[[Any], None] | None:
        """Return what happens to this request of a route."""
        with self._lock:
            for fault in self._faults:
                if fault.on != route or fault.times == 0:
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                self.made += 1
                return fault.does
        return None
