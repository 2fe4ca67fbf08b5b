"""Predictions for others: an Inference Endpoint's folder, the endpoint, the service. Importing this loads no torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Unpack

if TYPE_CHECKING:
    from paramgen.serving.endpoint_creation import EndpointOptions


def export_endpoint(folder: str | Path, *, overwrite: bool = False) -> dict[str, int]:
    """Write the folder of an endpoint, whole or not at all, and return its files with their sizes in bytes."""
    from paramgen.serving.endpoint_folder import export

    return export(Path(folder), overwrite=overwrite)


def create_endpoint(
    name: str, repository: str, *, dry_run: bool = False, **options: "Unpack[EndpointOptions]"
) -> dict[str, Any]:
    """Create an endpoint from a repository with what `export_endpoint` wrote; return its name, status and URL.

    With `dry_run` nobody is asked, and what would be sent is returned.
    """
    from paramgen.serving.endpoint_creation import Wanted, create

    wanted = Wanted(name=name, repository=repository, **options)
    return wanted.keywords() if dry_run else create(wanted)


def serve(*, host: str | None = None, port: int | None = None) -> NoReturn:
    """Put the service in this process's place, at 127.0.0.1 and 8000 where nothing else is set."""
    from paramgen.serving.service import start_service

    start_service(host=host, port=port)
