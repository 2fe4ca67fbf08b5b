"""The state that all threads of a process share, such as random generators, and how threads use it side by side.

Constructors and forward passes may take numbers from the global generators of Python, numpy and torch. They shall take
the same ones each time, and leave the generators as they were. Most take none, so they need not wait for each other:
work runs beside other work while the generators are at their seed, and if another thread used them meanwhile, it is
done again, alone.
"""

import contextlib
import functools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final, Generic, ParamSpec, TypeVar, final

import numpy as np
import torch

from paramgen.slots.torch_internals import default_device_kept

CONSTRUCTING: Final = threading.RLock()
"""Of one constructor at a time, beside any number of forward passes.

While it runs, transformers has functions of its own in torch.nn.init, torchvision changes the filters of warnings, and
the recorder has its own truncated normals: all of that holds in the whole process.
"""

P = ParamSpec("P")
T = TypeVar("T")


@contextlib.contextmanager
def seeded_randomness() -> Iterator[None]:
    """Give code that takes global random numbers the same ones each time, and put the caller's state back.

    It is alone with the generators: whatever is `undisturbed` in other threads has ended, or waits.
    """
    with alone(), _seeded():
        yield


def undisturbed(work: Callable[P, T]) -> Callable[P, T]:
    """Let a function take the same global random numbers each time, beside other threads in such functions.

    Where one of them has taken any meanwhile, the function is called again, alone: it must leave nothing behind.
    """

    @functools.wraps(work)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with _OCCUPANCY.beside() as stay, _PROCESS:
            if stay.only_one():
                _seed()
            if _at_seed():
                ended = _Ended(lambda: work(*args, **kwargs))
                if stay.only_one() or _at_seed():
                    return ended.result()
        with seeded_randomness():
            return work(*args, **kwargs)

    return call


def alone() -> AbstractContextManager[None]:
    """Reserve the global generators for this thread; inside, it may do so again."""
    return _OCCUPANCY.alone()


@final
class Shared:
    """A change of the whole process: made for the first who enters, and undone by the last who leaves.

    Two threads that made and undid it each for themselves would put back what they found of each other's.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[Any]]) -> None:
        self._change = change
        self._within = 0
        self._made: AbstractContextManager[Any] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if self._within == 0:
                self._made = self._change()
                self._made.__enter__()
            self._within += 1

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self._within -= 1
            if self._within == 0 and self._made is not None:
                self._made.__exit__(None, None, None)


@final
class _Ended(Generic[T]):
    """The outcome of a call: what it returned, or its exception."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._error: Exception | None = None
        try:
            self._returned = work()
        except Exception as error:
            self._error = error

    def result(self) -> T:
        """Return or raise it."""
        if self._error is not None:
            raise self._error
        return self._returned


@final
class _Stay:
    """The time that one thread spends beside others."""

    def __init__(self, occupancy: "_Occupancy") -> None:
        self._occupancy = occupancy
        self._arrivals, self._met = occupancy.arrivals, occupancy.guests > 1

    def only_one(self) -> bool:
        """Whether no other thread was there since it began."""
        return not self._met and self._occupancy.arrivals == self._arrivals


@final
class _Occupancy:
    """Many threads side by side, or one alone; either may be nested."""

    def __init__(self) -> None:
        self.guests = self.arrivals = 0
        self._owner: int | None = None
        self._depth = 0
        self._changed = threading.Condition()
        self._own = threading.local()

    @contextlib.contextmanager
    def beside(self) -> Iterator[_Stay]:
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: self._owner in (None, me))
            self.guests += 1
            self.arrivals += 1
            stay = _Stay(self)
        self._own.guest = self._inside() + 1
        try:
            yield stay
        finally:
            self._own.guest -= 1
            with self._changed:
                self.guests -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        me = threading.get_ident()
        with self._changed:
            # Who is beside others already cannot wait for them to leave: they might do the same.
            self._changed.wait_for(
                lambda: self._owner == me or (self._owner is None and (self._inside() > 0 or self.guests == 0))
            )
            self._owner = me
            self._depth += 1
        try:
            yield
        finally:
            with self._changed:
                self._depth -= 1
                if self._depth == 0:
                    self._owner = None
                self._changed.notify_all()

    def _inside(self) -> int:
        return int(getattr(self._own, "guest", 0))


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """Seed the generators, and put them back."""
    with torch.random.fork_rng(devices=[]):
        python_state, numpy_state = random.getstate(), np.random.get_state()
        _seed()
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.default_generator.manual_seed(0)  # torch.manual_seed would reach for the accelerators' too


@functools.cache
def _at_start() -> tuple[Any, bytes, torch.Tensor]:
    return (
        random.Random(0).getstate(),
        _numpy(np.random.RandomState(0).get_state(legacy=False)),
        torch.Generator().manual_seed(0).get_state(),
    )


def _at_seed() -> bool:
    """Whether nobody has taken a random number since the generators were seeded."""
    python, numpy, state = _at_start()
    return bool(
        random.getstate() == python
        and _numpy(np.random.get_state(legacy=False)) == numpy
        and torch.equal(torch.default_generator.get_state(), state)
    )


def _numpy(state: Any) -> bytes:
    return bytes(state["state"]["key"].tobytes()) + f"{state['state']['pos']} {state['has_gauss']}".encode()


@contextlib.contextmanager
def _one_state() -> Iterator[None]:
    """Seed the generators, and put back what modes of torch note for the whole process."""
    with _seeded(), default_device_kept():
        yield


_OCCUPANCY: Final = _Occupancy()
_PROCESS: Final = Shared(_one_state)
