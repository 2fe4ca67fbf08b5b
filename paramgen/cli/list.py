"""`paramgen list`: the names that can be typed."""

from typing import Annotated

import typer

from paramgen.cli.options import Json


def list_(
    what: Annotated[str, typer.Argument(help="architectures, hypernets, initializers or sources.")] = "architectures",
    source: Annotated[str | None, typer.Argument(help="With architectures: all names of one source.")] = None,
    pattern: Annotated[str | None, typer.Argument(help="Of these, the names that it fits: '*convnext*'.")] = None,
    as_json: Json = False,
) -> None:
    """List the names that can be typed.

    [dim]paramgen list architectures
    paramgen list architectures timm '*convnext*'
    paramgen list hypernets[/dim]
    """
    from paramgen.cli.listing import listed
    from paramgen.cli.output import Reporter

    Reporter(as_json=as_json, quiet=False).names(what, listed(what, source, pattern, facts=as_json))
