"""The one way to a terminal: what others wrote reaches it as letters, never as orders to it."""

from collections.abc import Iterable
from typing import Any, final

from rich.console import Console, ConsoleOptions
from rich.segment import Segment

from paramgen.errors import harmless


@final
class Terminal(Console):
    """A console of rich whose texts hold no control characters; rich's own colours and bars are as they are."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, emoji=False, **options)

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is printed, piece by piece."""
        for segment in super().render(renderable, options):
            if segment.control is None:
                yield Segment(harmless(segment.text), segment.style)
            else:
                yield segment
