"""`paramgen convert`: a published hypernet as a folder."""

from pathlib import Path
from typing import Annotated

import typer

from paramgen.cli.options import Json, Quiet


def convert(
    file: Annotated[Path, typer.Argument(help="A published checkpoint: GHN-1, GHN-2, GHN-3 or LoGAH.")],
    out: Annotated[Path, typer.Option("--out", "-o", show_default=False, help="The folder to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder that convert wrote.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn a published hypernet's checkpoint into a folder for --init, without running any code in it.

    [dim]paramgen convert ghn3tm8.pt --out ghn3
    paramgen predict --arch resnet50 --init hypernet:ghn3[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    with reporter.stage("Converting"):
        from paramgen import api

        converted = api.convert(file, out, overwrite=overwrite)
    reporter.record(converted.to_json())
