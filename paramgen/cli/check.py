"""`paramgen check`: load a folder with its library and compare every tensor."""

from pathlib import Path
from typing import Annotated, Any

import typer

from paramgen.cli.options import Json, Quiet
from paramgen.errors import OptionError


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

    [dim]paramgen check start
    paramgen check start --memory real[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    if memory not in ("auto", "real", "meta"):
        raise OptionError(f"Unknown --memory {memory!r}. Allowed: auto, real, meta")
    with reporter.stage("Loading with the library"):
        from paramgen.output.verify import check_folder

        done = check_folder(folder, memory=memory)  # type: ignore[arg-type]
    found: dict[str, Any] = {"folder": str(folder), "loaded_by": done.loaded_by, "tensors": done.tensors}
    found["memory"] = done.memory
    if done.published is not None:
        found["published"] = done.published.to_json() if as_json else str(done.published)
    reporter.record({**found, "ok": True})
