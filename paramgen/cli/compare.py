"""`paramgen compare`: parses, calls the library, and prints; progress on stderr, results on stdout."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, cast, final

import typer
from rich.console import Console
from rich.markup import escape

from paramgen.cli.options import folder_name, parsed_example, parsed_overrides
from paramgen.cli.terminal import Terminal

if TYPE_CHECKING:
    from paramgen.comparison import Comparison, Event
    from paramgen.comparison.options import Schedule as ScheduleName
    from paramgen.comparison.results import ArchitectureResult


Arch = Annotated[
    list[str], typer.Option("--arch", metavar="NAME", show_default=False, help="As for predict. Repeatable.")
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="FOLDER|TAR|FILE|SPEC",
        show_default=False,
        help="Class folders of images (or a .tar of them), a text, torchvision:CIFAR10?root=DIR, datasets:NAME.",
    ),
]
Init = Annotated[
    list[str] | None,
    typer.Option("--init", metavar="SPEC", help="An initializer, as for predict; without any, hypernet and library."),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="The folder of results. Without it, compare-ARCHITECTURE.")
]
Seeds = Annotated[int, typer.Option("--seeds", help="Repetitions with other random numbers and data orders.")]
Lr = Annotated[
    str,
    typer.Option("--lr", metavar="LR,LR,...", help="Learning rates; every initialization is trained at its best one."),
]
Widen = Annotated[
    int,
    typer.Option("--widen", help="How many learning rates more may be tried beyond an edge where the best one lies."),
]
Schedule = Annotated[
    str, typer.Option("--schedule", metavar="cosine|constant", help="Of the learning rate, after a short warmup.")
]
FullGrid = Annotated[
    bool, typer.Option("--full-grid", help="Try all learning rates with all seeds; else the grid has seed 0 only.")
]
TrainExamples = Annotated[int, typer.Option("--train-examples", help="Images to learn from, at most.")]
TestExamples = Annotated[int, typer.Option("--test-examples", help="Images or windows to test on, at most.")]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        "--tokenizer", metavar="DIR|FILE|REPO", help="For a text; without it, bytes are learnt, or --vocabulary."
    ),
]
Vocabulary = Annotated[
    int | None,
    typer.Option(
        "--vocabulary",
        help="For a text: train a byte-level BPE tokenizer of so many tokens on it, as --set vocab_size=N does.",
    ),
]
Length = Annotated[
    int | None, typer.Option("--length", help="Of the windows of a text, in tokens; 128, or fewer positions.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the config, as for predict. Repeatable.")
]
ExampleInput = Annotated[
    str | None, typer.Option("--example-input", metavar="SHAPE|FILE.PY:FN", help="As for predict: 2x3x32x32.")
]


def compare(
    *,
    arch: Arch,
    data: Data,
    init: Init = None,
    out: Out = None,
    steps: Annotated[int, typer.Option("--steps", help="Of training, for every run.")] = 200,
    seeds: Seeds = 3,
    lr: Lr = "3e-4,7e-4,1.7e-3,4e-3,1e-2",
    widen: Widen = 3,
    batch: Annotated[int, typer.Option("--batch", help="Images or windows in a step.")] = 64,
    schedule: Schedule = "cosine",
    full_grid: FullGrid = False,
    train_examples: TrainExamples = 50_000,
    test_examples: TestExamples = 2_000,
    length: Length = None,
    tokenizer: Tokenizer = None,
    vocabulary: Vocabulary = None,
    overrides: Overrides = None,
    example_input: ExampleInput = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, print the conclusion only.")] = False,
) -> None:
    """Train from several initializations, all alike, and say which is best for a network and your data.

    Writes results.json, table.md, curves.png and index.html, which opens in any browser. A second call with the same
    settings goes on where the first was interrupted.

    [dim]paramgen compare --arch my_model.py:build --data photos --init hypernet --init library --steps 200
    paramgen compare --arch timm:resnet18 --data photos --example-input 2x3x64x64 --seeds 5
    paramgen compare --arch gpt2 --set n_layer=2 --data notes.txt --init library --init hypernet[/dim]
    """
    folder = out if out is not None else Path(f"compare-{folder_name(arch[0]) or 'inits'}")
    reporter = _Reporter(as_json=as_json, quiet=quiet)
    with reporter.progress() as advance:
        from paramgen.api import compare as run
        from paramgen.comparison.protocol import parse_lr

        comparison = run(
            arch,
            data,
            init=init or ("hypernet", "library"),
            out=folder,
            overrides=parsed_overrides(overrides),
            example_input=parsed_example(example_input),
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            progress=advance,
            steps=steps,
            seeds=seeds,
            lr=parse_lr(lr),
            widen=widen,
            batch=batch,
            schedule=cast("ScheduleName", schedule),  # Protocol refuses any other
            full_grid=full_grid,
            train_examples=train_examples,
            test_examples=test_examples,
            length=length,
        )
    reporter.comparison(comparison, folder)


@final
class _Reporter:
    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json, self._quiet = as_json, quiet
        self._out = Terminal()
        self._err = Terminal(stderr=True, soft_wrap=True)

    @contextmanager
    def progress(self) -> Iterator[Callable[["Event"], None]]:
        """Show on a terminal a bar, elsewhere a line for each run; what own modules print goes to stderr."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        live = self._err.is_terminal and not self._quiet
        columns = ("{task.percentage:>3.0f}%", "steps {task.completed:,.0f}/{task.total:,.0f}")
        with (
            Progress(
                BarColumn(bar_width=20),
                *(TextColumn(column) for column in columns),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=self._err,
                transient=True,
                disable=not live,
            ) as bar,
            redirect_stdout(sys.stderr),
        ):
            task = bar.add_task("Reading the data, building and tracing", total=None)
            lines = _Lines(self._err) if not (live or self._quiet) else None

            def advance(event: "Event") -> None:
                bar.update(task, description=escape(event.run.label), completed=event.done, total=event.total)
                if lines is not None and event.ended is not None:
                    lines.ended(event)

            yield advance

    def comparison(self, comparison: "Comparison", folder: Path) -> None:
        """Print the conclusion, a table of each architecture, and where the rest is."""
        if self._as_json:
            self._out.print(json.dumps(comparison.to_json()), markup=False, soft_wrap=True)
            return
        for sentence in comparison.conclusion:
            self._out.print(sentence, markup=False, soft_wrap=True)
        if self._quiet:
            return
        for architecture in comparison.architectures:
            self._table(architecture)
        for note in (note for architecture in comparison.architectures for note in architecture.notes):
            self._out.print(f"note: {note}", markup=False, soft_wrap=True)
        beside = "results.json, table.md and curves.png are beside it."
        self._out.print(f"\n{folder / 'index.html'} shows it; {beside}", markup=False, soft_wrap=True)

    def _table(self, architecture: "ArchitectureResult") -> None:
        from rich.table import Table

        from paramgen.comparison.table import FIRST_COLUMN, header, rows

        table = Table(title=escape(architecture.name), title_justify="left", title_style="bold")
        table.box, table.pad_edge = None, False
        for column in header(architecture):
            table.add_column(escape(column), justify="left" if column == FIRST_COLUMN else "right", overflow="fold")
        for row in rows(architecture):
            table.add_row(*map(escape, row))
        wide = Terminal(width=None if self._out.is_terminal else 160)
        self._out.print()
        wide.print(table)


@final
class _Lines:
    """One line for each run that ends, with the time that is left; none for those that another call made."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began: tuple[float, int] | None = None

    def ended(self, event: "Event") -> None:
        now = perf_counter()
        began, first = self._began = self._began or (now, event.done)
        speed = (event.done - first) / max(now - began, 1e-6)
        left = f", {_clock((event.total - event.done) / speed)} left" if speed > 0 and event.done < event.total else ""
        status = "" if event.ended is None else event.ended.status
        self._console.print(f"{event.done / event.total:4.0%}  {event.run.label}: {status}{left}", markup=False)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
