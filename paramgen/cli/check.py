"""`paramgen check`: load a folder with its library and compare every tensor."""

from pathlib import Path
from typing import Annotated

import typer

from paramgen.cli.options import Json, Quiet


def check(
    folder: Annotated[Path, typer.Argument(help="A folder that predict wrote.")],
    memory: Annotated[
        str, typer.Option("--memory", help="real, meta, or auto: real up to 0.25 GB.", metavar="auto|real|meta")
    ] = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Load a folder with its library and compare every tensor.

    Exit code 0 if nothing is missing, unexpected, not finite or changed; 2 otherwise. What a published hypernet
    predicted must also have the published norm, where one is known.

    [dim]paramgen check weights
    paramgen check weights --memory real[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    with reporter.stage("Loading with the library"):
        from paramgen import api

        checked = api.check(folder, memory=memory)  # type: ignore[arg-type]  # it says what is allowed
    shown = checked.to_json()
    if checked.published is not None and not as_json:
        shown["published"] = str(checked.published)
    reporter.record(shown)
