"""`python -m checkpoints`: make, list and check zoos of trained checkpoints."""

import importlib
import json
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from checkpoints import recipes
from paramgen.errors import ParamgenError, UnknownNameError, ZooError
from paramgen.zoo.reading import Skipped

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Zoos of trained checkpoints.")
_Zoo = Annotated[Path, typer.Argument(metavar="ZOO", help="A folder that train-zoo or collect wrote.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.command()
def train_zoo(
    name: Annotated[str, typer.Argument(metavar="RECIPE", help="A file of checkpoints/recipes, without its ending.")],
    data: Annotated[str, typer.Option(help="A folder or a tar of photographs, or `drawn`: generated scenes.")],
    out: Annotated[Path, typer.Option(help="The zoo's folder.")],
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the zoo in the folder.")] = False,
    ray: Annotated[bool, typer.Option("--ray", help="Train on all processors of a Ray cluster, or of here.")] = False,
    as_json: _Json = False,
) -> None:
    """Train many small networks, each on a task with a prompt: an edit of pictures, or two classes to tell apart."""
    with _errors_in_one_line():
        from checkpoints.train import train_zoo as train

        recipe = _recipe(name)
        with _progress() as report:
            count, skipped = train(name, recipe, data, out, resume=resume, ray=ray, report=report)
        _say(as_json, out, count, skipped)


@app.command()
def index(zoo: _Zoo, *, as_json: _Json = False) -> None:
    """Write index.parquet anew from the headers of the shards; duplicates are listed once."""
    with _errors_in_one_line():
        from checkpoints.index import index as make

        count, skipped = make(zoo)
        _say(as_json, zoo, count, skipped)


@app.command()
def verify(
    zoo: _Zoo,
    *,
    data: Annotated[str | None, typer.Option(help="The pictures of the zoo: evaluate some checkpoints again.")] = None,
    samples: Annotated[int, typer.Option(min=0, help="How many checkpoints are evaluated again.")] = 8,
    as_json: _Json = False,
) -> None:
    """Check the hash of every checkpoint; with --data, evaluate some again. Damage ends with exit code 2."""
    with _errors_in_one_line():
        from checkpoints.verify import verify as look

        with _progress() as report:
            found = look(zoo, data=data, samples=samples, report=report)
        if as_json:
            _print({"zoo": str(zoo), **found.to_json()})
        else:
            for each in found.skipped:
                sys.stderr.write(f"skipped {each.id}: {each.reason}\n")
            again = f", {found.measured} measured again, at most {found.worst:.1g} off" if found.measured else ""
            sys.stdout.write(f"{zoo}: {found.whole:,} checkpoints are whole, {len(found.skipped):,} not{again}.\n")
        if found.skipped or found.different:
            first = found.skipped[0].id if found.skipped else found.different[0]
            count = len(found.skipped) + len(found.different)
            raise ZooError(
                f"{count:,} checkpoints are not what the table says, the first {first}. Make their shards again."
            )


@app.command()
def collect(
    sources: Annotated[
        list[str], typer.Argument(help="Folders of checkpoints, hub:OWNER/NAME@COMMIT, timm:NAME, transformers:NAME.")
    ],
    out: Annotated[Path, typer.Option(help="Gets a zoo for each architecture; an existing one is extended.")],
    *,
    licence: Annotated[str | None, typer.Option(help="The licence of folders whose README.md names none.")] = None,
    as_json: _Json = False,
) -> None:
    """Gather trained checkpoints: safetensors only, with licence, model card and the commit they came from."""
    with _errors_in_one_line():
        from checkpoints.collect import collect as gather

        with _progress() as report:
            found = gather(sources, out, licence=licence, report=report)
        if as_json:
            left_out = [{"id": each.id, "reason": each.reason} for each in found.skipped]
            _print({"zoos": dict(found.zoos), "skipped": left_out})
            return
        for each in found.skipped:
            sys.stderr.write(f"skipped {each.id}: {each.reason}\n")
        for name, count in found.zoos.items():
            sys.stdout.write(f"{out / name}: {count:,} checkpoints.\n")


@app.command()
def sheet(
    zoo: _Zoo,
    data: Annotated[str, typer.Option(help="A folder or a tar of photographs, or `drawn`: generated scenes.")],
    out: Annotated[Path, typer.Option(help="The PNG file.")],
    *,
    predicted: Annotated[
        Path | None,
        typer.Option(help="A pipeline, or a folder of predicted folders, each named by the id of a test task."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=50, help="How many test tasks are shown.")] = 9,
    steps: Annotated[int, typer.Option(min=1, help="Training steps from each initialization.")] = 40,
    as_json: _Json = False,
) -> None:
    """Draw what networks make of pictures from each initialization, before and after training."""
    with _errors_in_one_line():
        from checkpoints.contact import contact_sheet

        with _progress() as report:
            distances = contact_sheet(zoo, predicted, out, data=data, count=count, steps=steps, report=report)
        if as_json:
            _print({"sheet": str(out), "distances": distances})
            return
        for name, each in distances.items():
            sys.stdout.write(f"{name}: " + ", ".join(f"{value:.4f} at step {at}" for at, value in each.items()) + "\n")
        sys.stdout.write(f"Look at {out}\n")


def _recipe(name: str) -> Any:
    known = [module.name for module in pkgutil.iter_modules(recipes.__path__)]
    if name not in known:
        raise UnknownNameError.of("recipe", name, known, "A recipe is a file of checkpoints/recipes.")
    return importlib.import_module(f"checkpoints.recipes.{name}").config()


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Turn an error into one line and exit code 2."""
    try:
        yield
    except ParamgenError as error:
        sys.stderr.write(f"error: {error.message}\n")
        raise typer.Exit(2) from error


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Report progress: a bar on a terminal, a line for each step elsewhere."""
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def report(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)
            if not console.is_terminal:
                console.print(f"{what}: {done} of {total}")

        yield report


def _say(as_json: bool, zoo: Path, count: int, skipped: Sequence[Skipped]) -> None:
    if as_json:
        left_out = [{"id": each.id, "reason": each.reason} for each in skipped]
        _print({"zoo": str(zoo), "checkpoints": count, "skipped": left_out})
        return
    for each in skipped:
        sys.stderr.write(f"skipped {each.id}: {each.reason}\n")
    sys.stdout.write(f"{zoo}: {count:,} checkpoints, {len(skipped):,} skipped.\n")


def _print(found: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    app()
