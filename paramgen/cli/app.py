"""The `paramgen` command: it parses, calls `paramgen.api`, and prints."""

import logging
import os
import signal
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, NoReturn

import typer
from rich.markup import escape

from paramgen.cli import endpoint, field
from paramgen.cli.card import card
from paramgen.cli.check import check
from paramgen.cli.compare import compare
from paramgen.cli.convert import convert
from paramgen.cli.diagnose import diagnose
from paramgen.cli.donors import donors
from paramgen.cli.graph import graph
from paramgen.cli.info import info
from paramgen.cli.list import list_
from paramgen.cli.predict import predict
from paramgen.cli.prepare import prepare
from paramgen.cli.push import push
from paramgen.cli.restore import restore
from paramgen.cli.serve import serve
from paramgen.cli.terminal import Terminal
from paramgen.cli.tokenizer import tokenizer
from paramgen.errors import ParamgenError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Better initial weights for any architecture, in one command.\n\n"
    "[bold]paramgen predict --arch vit_b16[/bold] writes a folder that the library's own from_pretrained loads.\n\n"
    "[dim]paramgen list architectures[/dim] shows what can be typed there.",
)

app.command()(predict)
app.command()(graph)
app.command()(prepare)
app.command()(compare)
app.command()(diagnose)
app.command()(card)
app.command()(push)
app.command()(restore)
app.command()(tokenizer)
app.command()(serve)
app.add_typer(endpoint.app, name="endpoint")
app.add_typer(field.app, name="field")
app.command(name="list")(list_)
app.command()(donors)
app.command()(check)
app.command()(convert)
app.command()(info)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"paramgen {version('paramgen')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command; every expected failure is one line and exit code 2."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    _silence_libraries()
    try:
        with _streams():
            app(prog_name="paramgen")  # also for `python -m paramgen`
    except ParamgenError as error:
        _fail(error.message)
    except OSError as error:
        _fail(f"{error.strerror or error}: {error.filename or 'a file or the network'}. Check that it can be used.")
    except _Interrupted as interrupted:
        _say("Interrupted; nothing half-written is left.")
        sys.exit(128 + interrupted.number)
    except MemoryError:
        _fail("Out of memory. Try --dtype bfloat16, or a smaller architecture by --set")
    sys.exit(0)


def _streams() -> AbstractContextManager[None]:
    """Return what keeps everything but the one object off stdout, where the command is to print JSON."""
    if "--json" not in sys.argv or sys.stdout is None:
        return nullcontext()
    from paramgen.cli.output import stdout_for_json

    return stdout_for_json()


def _silence_libraries() -> None:
    """Keep warnings, log lines and bars of other packages off the terminal; `python -W` brings the warnings back."""
    logging.disable(logging.CRITICAL)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class _Interrupted(BaseException):
    """Ctrl-C or a request to end; not a KeyboardInterrupt, which typer would answer itself."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _interrupt(number: int, frame: Any) -> NoReturn:
    raise _Interrupted(number)


def _fail(message: str) -> NoReturn:
    _say(f"[bold red]error:[/] {escape(' '.join(message.split()))}")
    sys.exit(2)


def _say(line: str) -> None:
    Terminal(stderr=True, soft_wrap=True).print(line)


if __name__ == "__main__":
    main()
