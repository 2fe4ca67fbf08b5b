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
from paramgen.errors import OptionError


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
    paramgen predict --arch g.json --out start[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    if out.suffix not in (".json", ".svg", ".html"):
        raise OptionError(f"{str(out)!r} has the ending {out.suffix!r}. Allowed: .json, .svg and .html")
    if out.exists() and not overwrite:
        raise OptionError(f"{str(out)!r} exists. Type another name, or add --overwrite")
    with reporter.stage("Building and tracing"):
        from paramgen.api import graph as describe
        from paramgen.drawing import draw_html, draw_svg
        from paramgen.graphs.graph_json import graph_hash, graph_to_json
        from paramgen.storage.folder import write_text

        changes, example = parsed_overrides(overrides), parsed_example(example_input)
        architecture, traced = describe(
            arch, overrides=changes, example_input=example, strict=strict, trace_timeout=trace_timeout
        )
        if out.suffix == ".json":
            text = graph_to_json(architecture, traced)
        else:
            draw = draw_svg if out.suffix == ".svg" else draw_html
            text = draw(traced, title=architecture.spec)
        write_text(out, text)
    reporter.warn_of(traced)
    reporter.record(
        {
            "spec": architecture.spec,
            "file": str(out),
            "nodes": len(traced),
            "edges": len(traced.edges),
            "parameters": architecture.manifest.parameters,
            "traced_by": traced.traced_by,
            "trace_failures": list(traced.failures),
            "unreachable": traced.unreachable(),
            "sha256": graph_hash(traced),
        }
    )
