"""Progress bars for Python: where somebody sees them, and only for work that takes longer than two seconds."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
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
    """A bar that appears with the first step after `DELAY`; at once where it was requested."""

    def __init__(self, progress: RichProgress, *, requested: bool) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task("", total=None)
        self._due = time.monotonic() + (0.0 if requested else DELAY)
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
    progress = RichProgress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=wanted is None
    )
    shown = Bar(progress, requested=bool(wanted))
    try:
        yield shown
    finally:
        shown.close()


@contextmanager
def reporting(progress: Progress | bool | None) -> Iterator[Progress | None]:
    """Give what is called with stage, done and total: the caller's own function, or a bar's; None where no bar is."""
    if callable(progress):
        yield progress
        return
    with bar(progress) as shown:

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
