"""`python -m checkpoints`: make, list and check zoos of trained checkpoints."""

import importlib
import json
import pkgutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from checkpoints import recipes
from paramgen.errors import ParamgenError, UnknownNameError
from paramgen.zoo.reading import Skipped

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Zoos of trained checkpoints.")
_Zoo = Annotated[Path, typer.Argument(metavar="ZOO", help="A folder that train-zoo or collect wrote.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.command()
def train_zoo(
    name: Annotated[str, typer.Argument(metavar="RECIPE", help="A file of checkpoints/recipes, without its ending.")],
    data: Annotated[str, typer.Option(help="A folder or a tar of photographs, or `drawn`: scenes made here.")],
    out: Annotated[Path, typer.Option(help="The zoo's folder.")],
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the zoo in the folder.")] = False,
    ray: Annotated[bool, typer.Option("--ray", help="Train on all processors of a Ray cluster, or of here.")] = False,
    as_json: _Json = False,
) -> None:
    """Train many small networks, each on an edit of pictures that it has words for."""
    with _told():
        from checkpoints.train import train_zoo as train

        recipe = _recipe(name)
        with _progress() as report:
            count, skipped = train(name, recipe, data, out, resume=resume, ray=ray, report=report)
        _say(as_json, out, count, skipped)


@app.command()
def index(zoo: _Zoo, *, as_json: _Json = False) -> None:
    """Make index.parquet of what the shards say of themselves; the same checkpoint twice is listed once."""
    with _told():
        from checkpoints.index import index as make

        count, skipped = make(zoo)
        _say(as_json, zoo, count, skipped)


def _recipe(name: str) -> Any:
    known = [module.name for module in pkgutil.iter_modules(recipes.__path__)]
    if name not in known:
        raise UnknownNameError.of("recipe", name, known, "A recipe is a file of checkpoints/recipes.")
    return importlib.import_module(f"checkpoints.recipes.{name}").config()


@contextmanager
def _told() -> Iterator[None]:
    """Turn an error into one line and the exit status 2."""
    try:
        yield
    except ParamgenError as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(2) from error


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show what is being made: a bar on a terminal, a line for each step elsewhere."""
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
        sys.stdout.write(json.dumps({"zoo": str(zoo), "checkpoints": count, "skipped": left_out}, indent=1) + "\n")
        return
    for each in skipped:
        sys.stderr.write(f"skipped {each.id}: {each.reason}\n")
    sys.stdout.write(f"{zoo}: {count:,} checkpoints, {len(skipped):,} skipped.\n")


if __name__ == "__main__":
    app()
