"""`paramgen info`: what a folder or an architecture is."""

from typing import Annotated

import typer

from paramgen.cli.options import Json


def info(
    what: Annotated[
        str, typer.Argument(help="A folder that predict wrote, a hypernet's folder or its name, or an architecture.")
    ],
    as_json: Json = False,
) -> None:
    """Say what a folder holds or what an architecture is.

    [dim]paramgen info weights
    paramgen info vision[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=False)
    with reporter.stage("Reading"):
        from paramgen import api

        found = api.info(what)
    reporter.record(found.to_json() if as_json else found.in_words())
