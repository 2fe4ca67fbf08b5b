"""Progress in Python: a bar in a terminal or a notebook, as soon as something takes longer than two seconds."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

DELAY: Final = 2.0  # seconds before a bar that nobody asked for is shown


@final
class Bar:
    """A bar that appears with the first step after `DELAY`; at once where it was asked for."""

    def __init__(self, progress: Progress, *, asked: bool) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)
        self._due = time.monotonic() + (0.0 if asked else DELAY)
        self._shown = False

    def step(self, text: str, done: int, total: int | None) -> None:
        """Say what is going on and how much of it is done."""
        self._progress.update(self._task, description=escape(text), completed=done, total=total)
        if not self._shown and time.monotonic() >= self._due:
            self._shown = True
            self._progress.start()

    def close(self) -> None:
        """End the bar, if it was shown."""
        if self._shown:
            self._progress.stop()


@contextmanager
def bar(wanted: bool | None) -> Iterator[Bar | None]:
    """Give a bar if it is wanted; with None, where somebody sees it: in a terminal or a notebook."""
    console = Console(stderr=True, highlight=False, emoji=False)
    if not (console.is_terminal or console.is_jupyter if wanted is None else wanted):
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=wanted is None)
    shown = Bar(progress, asked=bool(wanted))
    try:
        yield shown
    finally:
        shown.close()


@contextmanager
def advancing(
    progress: Callable[[str, int], None] | bool | None, total: int
) -> Iterator[Callable[[str, int], None] | None]:
    """Give what is called with a stage and the number of elements done: the caller's own, or a bar's."""
    if callable(progress):
        yield progress
        return
    with bar(progress) as shown:

        def advance(stage: str, done: int) -> None:
            assert shown is not None
            checking = stage == "check"
            shown.step("Loading with the library" if checking else "Predicting", done, None if checking else total)

        yield None if shown is None else advance


@contextmanager
def transferring(
    progress: Callable[[str, int, int], None] | bool | None,
) -> Iterator[Callable[[str, int, int], None] | None]:
    """Give what is called with a text, the bytes done and all bytes: the caller's own, or a bar's."""
    if callable(progress):
        yield progress
        return
    with bar(progress) as shown:
        yield None if shown is None else lambda text, done, total: shown.step(text, done, total or None)


@contextmanager
def comparing(progress: Callable[[Any], None] | bool | None) -> Iterator[Callable[[Any], None] | None]:
    """Give what is called with the events of a comparison: the caller's own, or a bar's."""
    if callable(progress):
        yield progress
        return
    with bar(progress) as shown:
        yield None if shown is None else lambda event: shown.step(event.run.label, event.done, event.total)
