"""`paramgen card`: a folder's model card, made again."""

from pathlib import Path
from typing import Annotated

import typer

from paramgen.cli.options import Json, Quiet


def card(
    folder: Annotated[Path, typer.Argument(help="A folder that predict wrote.", show_default=False)],
    *,
    pictures: Annotated[
        bool,
        typer.Option("--pictures", help="Draw weights, spectra and graph; from a clone: pip install '.\\[pictures]'."),
    ] = False,
    repo: Annotated[
        str | None,
        typer.Option("--repo", metavar="ORG/NAME", help="Say how to load it from this repository of the Hub."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a card or pictures that were edited.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make the model card of a folder again, with pictures of its weights.

    [dim]paramgen card weights
    paramgen card weights --pictures --repo org/name[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    with reporter.stage("Reading and drawing" if pictures else "Reading"):
        from paramgen import api

        written = api.card(folder, pictures=pictures, repo=repo, overwrite=overwrite)
    reporter.record({"folder": str(folder), "files": written})
