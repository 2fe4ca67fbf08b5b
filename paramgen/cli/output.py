"""What the command prints: progress on stderr, results on stdout, or JSON alone."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from paramgen.cli import STARTED
from paramgen.cli.terminal import Terminal

if TYPE_CHECKING:
    from paramgen.comparison import Comparison, Event
    from paramgen.comparison.results import ArchitectureResult
    from paramgen.diagnosis.outcome import Diagnosis
    from paramgen.errors import UnconfirmedError
    from paramgen.graphs.schema import Graph
    from paramgen.hub.pushed import Pushed
    from paramgen.output.planning import Planned
    from paramgen.output.write import Written


@contextmanager
def stdout_for_json() -> Iterator[None]:
    """Keep stdout for what the command itself prints: all else, be it of a child process, goes to stderr."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors) as kept:
        os.dup2(2, 1)
        sys.stdout = kept
        try:
            yield
        finally:
            sys.stdout = sys.stderr  # for what is printed when the process ends


@final
class Reporter:
    """One per command."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._out = Terminal(soft_wrap=True)
        self._err = Terminal(stderr=True)
        self._live = self._err.is_terminal and not (quiet or as_json)

    @contextmanager
    def stage(self, text: str) -> Iterator[None]:
        """Show on a terminal that something is going on; what own modules print goes to stderr."""
        with redirect_stdout(sys.stderr), self._err.status(f"{text} ...") if self._live else nullcontext():
            yield

    @contextmanager
    def progress(self, first: str) -> Iterator[Callable[[str, int, int], None]]:
        """Show the stage, how much of it is done and how fast; what own modules print goes to stderr."""
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"))
        with self._bar(SpinnerColumn(), *columns, TimeElapsedColumn()) as bar:
            task = bar.add_task(first, total=None, figures="")
            began: dict[str, float] = {}

            def report(stage: str, done: int, total: int) -> None:
                from paramgen.prediction.progress import STAGES  # which loads torch: the bar is there before it

                new = stage not in began  # shown at once: it may be over before the next frame
                begun = began.setdefault(stage, time.perf_counter())
                figures = f"{_short(done)}B of {_short(total)}B" if total else ""
                if stage == "predict":
                    rate = done / max(time.perf_counter() - begun, 1e-6)
                    figures = f"{done / max(total, 1):>4.0%} {_short(rate)} parameters/s"
                text = escape(STAGES.get(stage, stage))
                bar.update(task, description=text, completed=done, total=total or None, figures=figures, refresh=new)

            yield report

    @contextmanager
    def runs(self, first: str) -> Iterator[Callable[["Event"], None]]:
        """Show on a terminal a bar, elsewhere a line for each run; what own modules print goes to stderr."""
        figures = ("{task.percentage:>3.0f}%", "steps {task.completed:,.0f}/{task.total:,.0f}")
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        columns = (BarColumn(bar_width=20), *map(TextColumn, figures), *times, TextColumn("{task.description}"))
        with self._bar(*columns) as bar:
            task = bar.add_task(first, total=None)
            lines = None if self._live or self._quiet else _Lines(self._err)

            def advance(event: "Event") -> None:
                bar.update(task, description=escape(event.run.label), completed=event.done, total=event.total)
                if lines is not None and event.ended is not None:
                    lines.ended(event)

            yield advance

    @contextmanager
    def counted(self, first: str) -> Iterator[Callable[[str, int, int], None]]:
        """Show on a terminal a bar, elsewhere a line for each thing; what own modules print goes to stderr."""
        columns = (BarColumn(bar_width=20), TextColumn("{task.completed:.0f}/{task.total:.0f}"), TimeElapsedColumn())
        with self._bar(*columns, TextColumn("{task.description}")) as bar:
            task, said = bar.add_task(first, total=0), set[str]()

            def advance(text: str, done: int, total: int) -> None:
                shown = first if text == "build" else text
                bar.update(task, description=escape(shown), completed=done, total=total, refresh=True)
                if total and not (self._live or self._quiet or text in said):
                    self._err.print(f"{done}/{total}  {shown}", markup=False, soft_wrap=True)
                said.add(text)

            yield advance

    @contextmanager
    def _bar(self, *columns: ProgressColumn) -> Iterator[Progress]:
        """Show a bar on a terminal; what own modules print goes to stderr."""
        with (
            Progress(*columns, console=self._err, transient=True, disable=not self._live) as bar,
            redirect_stdout(sys.stderr),
        ):
            yield bar

    def warn_of(self, graph: "Graph") -> None:
        """Say on stderr, in one line, that the order in which a network runs is not known, and why."""
        if not graph.ordered and not self._quiet:
            text = f"no order of execution is known, so initializers that need one leave all to library. {graph.reason}"
            self._err.print(f"[bold yellow]warning:[/] {escape(text)}", soft_wrap=True)

    def confirms(self, error: "UnconfirmedError") -> bool:
        """Ask on a terminal whether what an error says is to be done; elsewhere nobody can be asked."""
        if not (self._live and sys.stdin is not None and sys.stdin.isatty()):
            return False
        self._err.print(error.what, markup=False, soft_wrap=True)
        with suppress(EOFError):
            return self._err.input("Download it? [y/N] ", markup=False).strip().lower() in ("y", "yes")
        return False

    def planned(self, planned: "Planned") -> None:
        """Print what would be written."""
        self.warn_of(planned.prediction.graph)
        self.record(planned.to_json())

    def record(self, values: Mapping[str, Any]) -> None:
        """Print names and values."""
        if self._as_json:
            self._out.print(json.dumps(values), markup=False)
        elif not self._quiet:
            self._rows({key: _shown(key, value) for key, value in values.items()}, left="bold", right="")

    def names(self, what: str, names: Mapping[str, Any]) -> None:
        """Print names, each with what it stands for."""
        if self._as_json:
            self._out.print(json.dumps(names), markup=False)
            return
        if not names:
            self._out.print(f"No {what} can be listed here.")
        self._rows({name: str(text) for name, text in names.items()}, left="", right="dim")

    def grouped(self, what: str, names: Mapping[str, Mapping[str, Any]]) -> None:
        """Print names with what is known of each, under the heading of its group."""
        for group in dict.fromkeys(facts["group"] for facts in names.values()):
            self._out.print(f"{group.capitalize()}:", markup=False, style="bold")
            self.names(what, {name: _in_words(facts) for name, facts in names.items() if facts["group"] == group})

    def _rows(self, rows: Mapping[str, str], *, left: str, right: str) -> None:
        """Print two columns: folded on a terminal, a line each for programs."""
        if not self._out.is_terminal:
            width = max(map(len, rows), default=0)
            for name, text in rows.items():
                self._out.print(f"{name:<{width}}  {text}".rstrip(), markup=False)
            return
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True, style=left)
        table.add_column(overflow="fold", style=right)
        for name, text in rows.items():
            table.add_row(escape(name), escape(text))
        self._out.print(table)

    def pushed(self, pushed: "Pushed") -> None:
        """Print what is on the Hub, and how to load it from there."""
        if self._as_json:
            self._out.print(json.dumps(pushed.to_json()), markup=False)
        elif not self._quiet:
            self._pushed(pushed)

    def _pushed(self, pushed: "Pushed") -> None:
        size = sum(pushed.files.values())
        seen = "private" if pushed.private else "public"
        what = f"{len(pushed.files)} files, {_short(size)}B" + (f", {_short(pushed.sent)}B sent" if pushed.sent else "")
        done = "in one commit" if pushed.committed else "there already, byte for byte"
        self._out.print(f"[bold]{escape(pushed.repo)}[/] ({seen}): {what}, {done}: {pushed.commit[:7]}")
        if not pushed.compared:
            self._out.print("  [yellow]not compared[/]: the Hub did not answer after the commit; push again to compare")
        self._out.print(f"  {pushed.url}", markup=False)
        for line in pushed.loading:
            self._out.print(f"  {line}", markup=False)

    def written(self, written: "Written") -> None:
        """Print where the folder is, by which rules it was filled, and how to load it."""
        self.warn_of(written.prediction.graph)
        pushed = written.pushed
        folder = str(written.folder) if written.kept or pushed is None else pushed.repo
        if self._as_json:
            self._out.print(json.dumps(written.to_json()), markup=False)
            return
        if self._quiet:
            return
        prediction, waited = written.prediction, time.perf_counter() - STARTED
        architecture = prediction.architecture
        elements = architecture.manifest.elements
        self._out.print(
            f"[bold]{escape(folder)}[/]: {escape(architecture.spec)}, "
            f"{architecture.manifest.parameters:,} parameters, {_short(sum(written.files.values()))}B in "
            f"{waited:.1f} s ({_short(elements / waited)} parameters/s)"
        )
        self._about(prediction)
        for rule, count in prediction.by_rule.items():
            self._out.print(f"  {count / max(elements, 1):6.1%} by [bold]{rule}[/]{self._which(prediction, rule)}")
        self._traced(prediction.graph)
        if written.checked is not None:
            loaded = "read back" if written.checked.loaded_by is None else f"{written.checked.loaded_by} loaded it"
            self._out.print(f"  {loaded}: nothing missing, unexpected or changed")
            if written.checked.published is not None:
                self._out.print(f"  published: {written.checked.published}", markup=False)
        layout = architecture.layout
        if pushed is not None:
            self._pushed(pushed)
            return
        if prediction.rounding is not None:
            self._out.print(f"  paramgen restore {written.folder} --out FOLDER", markup=False)
            return
        for line in _loading_lines(layout.source, layout.config, str(written.folder)):
            self._out.print(f"  >>> {line}", markup=False)

    def compared(self, comparison: "Comparison", folder: Path) -> None:
        """Print the conclusion, a table of each architecture, and where the rest is."""
        if self._as_json:
            self._out.print(json.dumps(comparison.to_json()), markup=False)
            return
        for sentence in comparison.conclusion:
            self._out.print(sentence, markup=False)
        if self._quiet:
            return
        for architecture in comparison.architectures:
            self._results(architecture)
        for note in (note for architecture in comparison.architectures for note in architecture.notes):
            self._out.print(f"note: {note}", markup=False)
        beside = "results.json, table.md and curves.png are beside it."
        self._out.print(f"\n{folder / 'index.html'} shows it; {beside}", markup=False)

    def _results(self, architecture: "ArchitectureResult") -> None:
        from paramgen.comparison.table import FIRST_COLUMN, header, rows

        table = Table(title=escape(architecture.name), title_justify="left", title_style="bold", box=None)
        table.pad_edge = False
        for column in header(architecture):
            table.add_column(escape(column), justify="left" if column == FIRST_COLUMN else "right", overflow="fold")
        for row in rows(architecture):
            table.add_row(*map(escape, row))
        self._out.print()
        Terminal(width=None if self._out.is_terminal else 160).print(table)

    def diagnosed(self, diagnosis: "Diagnosis", page: Path | None) -> None:
        """Print figures side by side with the colour or the word of their light, then the advice."""
        from paramgen.diagnosis.table import MARKS, cells, header

        if self._as_json:
            self._out.print(json.dumps(diagnosis.to_json()), markup=False)
            return
        if not self._quiet:
            said = f"{diagnosis.parameters:,} parameters, {diagnosis.examples} examples of {diagnosis.data}"
            self._out.print(f"[bold]{escape(diagnosis.architecture)}[/]: {escape(said)}")
            table = Table(box=None)
            table.pad_edge = False
            for column in header(diagnosis.inits):
                table.add_column(escape(column), justify="left" if column == "figure" else "right", overflow="fold")
            colours = {"good": "green", "watch": "yellow", "bad": "bold red"}
            for measure, label, row in cells(diagnosis.inits, diagnosis.results):
                shown = [
                    escape(value) if light is None else f"[{colours[light]}]{escape(value)} {MARKS[light]}[/]"
                    for value, light in row
                ]
                table.add_row(escape(f"{measure}: {label}"), *shown)
            Terminal(width=None if self._out.is_terminal else 160).print(table)
            for note in (
                *diagnosis.notes,
                *(f"{e.init}, {e.measure}: {e.reason}" for e in diagnosis.results if e.reason),
            ):
                self._out.print(f"note: {note}", markup=False)
        for sentence in diagnosis.advice or ["Nothing that was measured is wrong with these initial weights."]:
            self._out.print(sentence, markup=False)
        if page is not None and not self._quiet:
            self._out.print(f"\n{page} shows it.", markup=False)

    def _about(self, prediction: Any) -> None:
        """Print which initializer was chosen and why, and what a user should know of it."""
        if prediction.choice is not None:
            self._out.print(
                f"  {escape(prediction.init)} chose [bold]{escape(prediction.choice.init)}[/]: "
                f"{escape(prediction.choice.reason)}"
            )
        if prediction.next_step:
            self._out.print(f"  {prediction.next_step}", markup=False)
        for remark in prediction.remarks:
            self._out.print(f"  [yellow]note[/]: {escape(remark)}")

    def _traced(self, graph: "Graph") -> None:
        """Print what the network was traced on, and which parameters no path reaches."""
        after = f", after {len(graph.failures)} other ways failed" if graph.failures else ""
        self._out.print(f"  a graph of {len(graph):,} nodes, traced by {graph.traced_by}{after}", markup=False)
        unreachable = graph.unreachable()
        if unreachable:
            self._out.print(
                f"  [yellow]unreachable[/]: no path leads through {len(unreachable)} parameters, first "
                f"{escape(unreachable[0])}; they are filled by library"
            )

    def _which(self, prediction: Any, rule: str) -> str:
        """Count the slots of a rule, and name them by their last words where it is not the main one."""
        shares = prediction.shares
        names = [name for name, by in prediction.rules.items() if rule in shares.get(name, (by,))]
        parts = sum(name in shares for name in names)
        count = f"{len(names)} tensor{'' if len(names) == 1 else 's'}"
        count += "" if not parts else ", in part" if parts == len(names) else f", {parts} of them in part"
        if len(names) == len(prediction.rules) or parts or rule == "hypernet":
            return f" ({count})"
        words = sorted({_word(name) for name in names})
        shown = ", ".join(words[:4]) + (", ..." if len(words) > 4 else "")
        return escape(f" ({count}: {shown})")


@final
class _Lines:
    """One line for each run that ends, with the time that is left; none for those that another call made."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._began: tuple[float, int] | None = None

    def ended(self, event: "Event") -> None:
        now = time.perf_counter()
        began, first = self._began = self._began or (now, event.done)
        speed = (event.done - first) / max(now - began, 1e-6)
        left = f", {_clock((event.total - event.done) / speed)} left" if speed > 0 and event.done < event.total else ""
        status = "" if event.ended is None else event.ended.status
        line = f"{event.done / event.total:4.0%}  {event.run.label}: {status}{left}"
        self._terminal.print(line, markup=False, soft_wrap=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _word(name: str) -> str:
    """Return what a slot is called: its last word, and the one before where that says too little."""
    words = name.split(".")
    return ".".join(words[-2:] if words[-1] in ("weight", "bias") else words[-1:])


def _loading_lines(source: str, config: Mapping[str, Any], folder: str) -> tuple[str, ...]:
    """Return the two lines of Python that load the folder, to be typed where the command was."""
    from paramgen.architectures.ownership import is_ours, own_record
    from paramgen.modelcard.loading import loading_lines

    module = "module" if source == "module" and not is_ours(own_record(Path(folder))) else ""
    return loading_lines(source, config, folder, module=module)


def _in_words(facts: Mapping[str, Any]) -> str:
    """Return what is known of an initializer in a line."""
    known = [facts["paper"], f"applies to {facts['applies_to']}", "runs the network" if facts["runs_network"] else ""]
    return f"{facts['for']} [{'; '.join(each for each in known if each)}]"


def _shown(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(name, item)}" for name, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value) or "none"
    return f"{value:,}" if type(value) is int and key != "seed" else str(value)


def _short(count: float | int) -> str:
    for power, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= power:
            return f"{count / power:.3g} {prefix}"
    return f"{count:.3g} "
