"""Progress bars for Python: where somebody sees them, and only for work that takes longer than two seconds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any, Final, final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

DELAY: Final = 2.0  # seconds before a bar that nobody requested is shown

Progress = Callable[[str, int, int], None]
"""Called with the stage, how much of it is done and how much there is; 0 where that is not known.

`predict` counts elements; `build` and `check` count nothing. Any other stage is a text of a push, which counts bytes.
"""

STAGES: Final = {"build": "Building and tracing", "predict": "Predicting", "check": "Loading with the library"}
"""What a bar says of each stage; of any other, the stage itself."""


@final
class Bar:
    """A bar that appears after `delay` seconds, whatever is going on then; without one, as soon as it has a text."""

    def __init__(self, progress: RichProgress, text: str, *, delay: float) -> None:
        self._progress = progress
        self._task = progress.add_task(escape(text), total=None)
        self._text = text
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
        if text != self._text:  # each stage is shown, however short it is
            self._text = text
            self._progress.refresh()

    def close(self) -> None:
        """End the bar, which does not appear any more if it was not shown."""
        self._timer.cancel()
        if self._timer.ident is not None:
            self._timer.join()
        self._progress.stop()


@contextmanager
def bar(wanted: bool | None, text: str = "") -> Iterator[Bar | None]:
    """Give a bar if it is wanted; with None, where somebody sees it: in a terminal or a notebook.

    Work that cannot say how much of it is done needs no more than the `text`.
    """
    console = Console(stderr=True, highlight=False, emoji=False)
    if not (console.is_terminal or console.is_jupyter if wanted is None else wanted):
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    progress = RichProgress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=wanted is None
    )
    shown = Bar(progress, text, delay=0.0 if wanted else DELAY)
    try:
        yield shown
    finally:
        shown.close()


@contextmanager
def reporting(progress: Progress | bool | None, first: str = "") -> Iterator[Progress | None]:
    """Give what is called with stage, done and total: the caller's own function, or a bar's; None where no bar is.

    `first` is the stage that begins at once, if it is known.
    """
    if callable(progress):
        if first:
            progress(first, 0, 0)
        yield progress
        return
    with bar(progress, STAGES.get(first, first)) as shown:

        def report(stage: str, done: int, total: int) -> None:
            assert shown is not None
            shown.step(STAGES.get(stage, stage), done, total or None)

        yield None if shown is None else report


@contextmanager
def comparing(progress: Callable[[Any], None] | bool | None) -> Iterator[Callable[[Any], None] | None]:
    """Give what is called with the events of a comparison: the caller's own function, or a bar's."""
    if callable(progress):
        yield progress
        return
    with bar(progress) as shown:
        yield None if shown is None else lambda event: shown.step(event.run.label, event.done, event.total)
