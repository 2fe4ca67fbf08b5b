"""`paramgen serve`: starts the service, which is a distribution of its own."""

from typing import Annotated

import typer


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
    from paramgen import api

    api.serve(host=host, port=port)
