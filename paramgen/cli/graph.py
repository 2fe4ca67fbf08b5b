"""`paramgen graph`: the graph of an architecture, for machines or for eyes."""

from pathlib import Path
from typing import Annotated

import typer

from paramgen.api import TRACE_TIMEOUT
from paramgen.cli.options import (
    Arch,
    ExampleInput,
    Json,
    Overrides,
    Quiet,
    Strict,
    TraceTimeout,
    parsed_example,
    parsed_overrides,
)


def graph(
    *,
    arch: Arch,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", show_default=False, help="g.json to predict from; g.svg, g.html to see."),
    ],
    overrides: Overrides = None,
    example_input: ExampleInput = None,
    strict: Strict = False,
    trace_timeout: TraceTimeout = TRACE_TIMEOUT,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Trace an architecture and write its graph, for machines or for eyes.

    [dim]paramgen graph --arch resnet50 --out resnet50.svg
    paramgen graph --arch my_model.py:build --out g.json
    paramgen predict --arch g.json --out weights[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    with reporter.stage("Building and tracing"):
        from paramgen import api

        traced = api.graph(
            arch,
            out=out,
            overwrite=overwrite,
            overrides=parsed_overrides(overrides),
            example_input=parsed_example(example_input),
            strict=strict,
            trace_timeout=trace_timeout,
        )
    reporter.warn_of(traced.graph)
    shown = traced.to_json()
    reporter.record({"spec": shown.pop("spec"), "file": str(out), **shown})
