"""Progress in Python: a bar in a terminal or a notebook, as soon as something takes longer than two seconds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any, Final, final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

DELAY: Final = 2.0  # seconds before a bar that nobody asked for is shown


@final
class Bar:
    """A bar that appears after `delay` seconds, whatever is going on then; without one, as soon as it has a text."""

    def __init__(self, progress: Progress, text: str, *, delay: float) -> None:
        self._progress = progress
        self._task = progress.add_task(escape(text), total=None)
        self._timer = Timer(delay, progress.start)
        self._timer.daemon = True
        if delay:
            self._timer.start()
        elif text:
            progress.start()

    def step(self, text: str, done: int, total: int | None) -> None:
        """Say what is going on and how much of it is done."""
        self._progress.update(self._task, description=escape(text), completed=done, total=total)
        if self._timer.ident is None:
            self._progress.start()

    def close(self) -> None:
        """End the bar, which does not appear any more if it was not shown."""
        self._timer.cancel()
        if self._timer.ident is not None:
            self._timer.join()
        self._progress.stop()


@contextmanager
def bar(wanted: bool | None, text: str = "") -> Iterator[Bar | None]:
    """Give a bar if it is wanted; with None, where somebody sees it: in a terminal or a notebook.

    What cannot say how far it is needs no more than the `text`.
    """
    console = Console(stderr=True, highlight=False, emoji=False)
    if not (console.is_terminal or console.is_jupyter if wanted is None else wanted):
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=wanted is None)
    shown = Bar(progress, text, delay=0.0 if wanted else DELAY)
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
