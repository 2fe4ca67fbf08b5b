"""The command line: one file a command; each reads its options, calls `paramgen.api` once, and prints."""

from time import perf_counter
from typing import Final

STARTED: Final = perf_counter()
"""When the command began, before it imported anything."""
