"""`paramgen list`: the names that can be typed."""

from typing import Annotated

import typer

from paramgen.cli.options import ExampleInput, Json, Overrides, parsed_example, parsed_overrides


def list_(
    what: Annotated[
        str, typer.Argument(help="architectures, hypernets, initializers, modifiers, preparations or sources.")
    ] = "architectures",
    source: Annotated[str | None, typer.Argument(help="With architectures: all names of one source.")] = None,
    pattern: Annotated[str | None, typer.Argument(help="Of these, the names that it fits: '*convnext*'.")] = None,
    *,
    arch: Annotated[
        str | None,
        typer.Option("--for", metavar="NAME", help="With initializers: what each would do to this architecture."),
    ] = None,
    overrides: Overrides = None,
    example_input: ExampleInput = None,
    as_json: Json = False,
) -> None:
    """List the names that can be typed.

    [dim]paramgen list architectures
    paramgen list architectures timm '*convnext*'
    paramgen list initializers --for timm:resnet18
    paramgen list modifiers
    paramgen list hypernets[/dim]
    """
    from paramgen import api
    from paramgen.cli.output import Reporter
    from paramgen.errors import OptionError

    reporter = Reporter(as_json=as_json, quiet=False)
    if arch is None and (overrides or example_input):
        raise OptionError(
            "--set and --example-input are for an architecture. Type: paramgen list initializers --for NAME"
        )
    if arch is not None:
        if what != "initializers" or source is not None:
            raise OptionError(
                f"--for is about initializers; given was {what!r}. Type: paramgen list initializers --for NAME"
            )
        with reporter.stage("Building and tracing"):
            found = api.fitting(
                arch, overrides=parsed_overrides(overrides), example_input=parsed_example(example_input)
            )
        reporter.names(what, {name: each.to_json() if as_json else str(each) for name, each in found.items()})
        return
    facts = api.names(what, source, pattern, facts=as_json or what in ("initializers", "modifiers"))
    if what in ("initializers", "modifiers") and not as_json:
        reporter.grouped(what, facts)
    else:
        reporter.names(what, facts)
