"""A call that builds no network which was built before, unless it has to: for a process that is the command's own."""

from collections.abc import Callable
from typing import Any


def unbuilt_first(run: Callable[[], Any]) -> Any:
    """Return what `run` returns; it is called again, with networks that are built, where something looks at one."""
    from paramgen.graphs.unbuilt import NetworkNeeded, unbuilt_networks

    try:
        with unbuilt_networks():
            return run()
    except NetworkNeeded:
        return run()
