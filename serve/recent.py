"""A cache of recent values, by key, within a number of bytes."""

import gc
import sys
import threading
from collections import OrderedDict
from collections.abc import Hashable
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final, Generic, TypeVar, final

from torch import Tensor

T = TypeVar("T")

_SHARED: Final = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, CodeType)


@final
class Recent(Generic[T]):
    """A least-recently-used cache; any thread may use it.

    Args:
        most: Bytes of all values.
        share: Bytes of the values of one owner; beyond, the owner's own oldest values are dropped.

    """

    def __init__(self, most: int, share: int) -> None:
        self._most, self._share = most, share
        self._kept: OrderedDict[Hashable, tuple[T, int, str]] = OrderedDict()
        self._owned: dict[str, int] = {}
        self._lock = threading.Lock()
        self.nbytes = 0

    def get(self, key: Hashable) -> T | None:
        """Return what is kept under `key`, if anything is."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: Hashable, value: T, nbytes: int, owner: str = "") -> None:
        """Keep a value of `nbytes`, unless it is too large; drop the least recently used ones."""
        with self._lock:
            self._drop(key)
            if nbytes > min(self._share, self._most):
                return
            self._kept[key] = (value, nbytes, owner)
            self.nbytes += nbytes
            self._owned[owner] = self._owned.get(owner, 0) + nbytes
            while self._owned[owner] > self._share:
                self._drop(next(name for name, (_, _, whose) in self._kept.items() if whose == owner))
            while self.nbytes > self._most:
                self._drop(next(iter(self._kept)))

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self._kept.clear()
            self._owned.clear()
            self.nbytes = 0

    def _drop(self, key: Hashable) -> None:
        if key not in self._kept:
            return
        _, nbytes, owner = self._kept.pop(key)
        self.nbytes -= nbytes
        self._owned[owner] -= nbytes
        if not self._owned[owner]:
            del self._owned[owner]

    def __len__(self) -> int:
        return len(self._kept)


def size_of(*values: Any, most: int) -> int:
    """Return how many bytes values take with all objects they refer to; counting stops a little above `most`.

    Classes, functions and modules are shared and not counted. Each object is visited once, which takes about a
    microsecond.
    """
    seen: set[int] = set()
    left: list[Any] = list(values)
    total = 0
    while left and total <= most:
        value = left.pop()
        if id(value) in seen or isinstance(value, _SHARED):
            continue
        seen.add(id(value))
        total += sys.getsizeof(value) + 16  # of which the collector and the allocator need some
        if isinstance(value, Tensor) and not value.is_meta:
            total += value.untyped_storage().nbytes()
        left.extend(gc.get_referents(value))
    return total
