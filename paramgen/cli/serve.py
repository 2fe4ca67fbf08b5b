"""`paramgen serve`: starts the service, which is a distribution of its own."""

import os
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

PACKAGE = "paramgen_serve"


def serve(
    *,
    host: Annotated[str | None, typer.Option("--host", help="The address to listen at; 127.0.0.1, if not set.")] = None,
    port: Annotated[int | None, typer.Option("--port", min=1, max=65_535, help="8000, if not set.")] = None,
) -> None:
    """Answer predictions over HTTP, with a page at /; it needs the distribution paramgen-serve.

    Every other setting is an environment variable: PARAMGEN_SERVE_KEYS, PARAMGEN_SERVE_MAX_ELEMENTS, ...

    [dim]paramgen serve --port 8000
    curl -o vit.safetensors 'http://localhost:8000/v1/weights?arch=vit_b16'[/dim]
    """
    if find_spec(PACKAGE) is None:
        from paramgen.errors import MissingPackageError

        raise MissingPackageError(
            "The service is not installed. Type in a clone of paramgen's repository: make build && pip install "
            "dist/*.whl (or, to run it from there: python -m serve)"
        )
    given = {"HOST": host, "PORT": port}
    settings = {f"PARAMGEN_SERVE_{name}": str(value) for name, value in given.items() if value is not None}
    # In this process's place: the service has signals, log lines and limits of its own.
    os.execve(sys.executable, [sys.executable, "-P", "-m", PACKAGE], os.environ | settings)
