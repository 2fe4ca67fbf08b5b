"""Whether networks that were built before may stay unbuilt; importing it loads no torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, final

_ALLOWED: Final[ContextVar[bool]] = ContextVar("networks that were built before", default=False)


@final
class NetworkNeeded(BaseException):  # noqa: N818 - no error: whoever allowed it builds the network after all
    """Something looks at a network that is not built. Only who allowed that catches it."""


@contextmanager
def unbuilt_networks() -> Iterator[None]:
    """Let networks that were built before stay unbuilt; where nobody else sees them."""
    token = _ALLOWED.set(True)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def may_stay_unbuilt() -> bool:
    """Whether that is so here."""
    return _ALLOWED.get()
