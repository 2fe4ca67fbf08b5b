"""The `paramgen` command: it parses, calls `paramgen.api`, and prints."""

import logging
import os
import signal
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NoReturn

import typer
from rich.markup import escape

from paramgen.api import TRACE_TIMEOUT
from paramgen.cli_card import card
from paramgen.cli_compare import compare, folder_name
from paramgen.cli_endpoint import app as endpoint_app
from paramgen.cli_options import (
    Arch,
    Dtype,
    Endpoint,
    ExampleInput,
    ImageProcessor,
    Init,
    MaxShard,
    Out,
    Overrides,
    OwnArch,
    Prompt,
    Strict,
    Tokenizer,
    TraceTimeout,
)
from paramgen.cli_push import Message, Public, PullRequest, Revision, early_target, push, push_written
from paramgen.cli_tokenizer import tokenizer as tokenizer_command
from paramgen.errors import OptionError, ParamgenError
from paramgen.terminal import Terminal

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Better starting weights for any architecture, in one command.\n\n"
    "[bold]paramgen predict --arch vit_b16[/bold] writes a folder that the library's own from_pretrained loads.\n\n"
    "[dim]paramgen list architectures[/dim] shows what can be typed there.",
)

PushTo = Annotated[
    str | None,
    typer.Option("--push", metavar="REPO", help="Push to the Hub, too; without --out, nothing is kept here."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]


@app.command()
def predict(
    context: typer.Context,
    *,
    arch: OwnArch = None,
    out: Out = None,
    init: Init = "auto",
    prompt: Prompt = None,
    overrides: Overrides = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same bytes.")] = 0,
    dtype: Dtype = None,
    max_shard: MaxShard = "5GB",
    example_input: ExampleInput = None,
    tokenizer: Tokenizer = None,
    image_processor: ImageProcessor = None,
    endpoint: Endpoint = None,
    strict: Strict = False,
    trace_timeout: TraceTimeout = TRACE_TIMEOUT,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder that paramgen wrote.")] = False,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Load the folder with its library.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Build, trace and plan; write nothing.")] = False,
    push: PushTo = None,
    public: Public = False,
    revision: Revision = None,
    pr: PullRequest = False,
    message: Message = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict initial weights and write the folder that the library loads.

    [dim]paramgen predict --arch gpt2 --out start
    paramgen predict --arch timm:resnet18 --set num_classes=37 --init library
    paramgen predict --arch my_model.py:build --example-input 2x3x32x32
    paramgen predict --arch llama-1b --dtype bfloat16 --dry-run
    paramgen predict --arch vit_b16 --push me/vit-start
    paramgen predict --prompt "pencil sketch with warm tint" --out sketch[/dim]
    """
    from paramgen.reporting import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    target = early_target(push, public=public, revision=revision, pr=pr, message=message)
    with reporter.stage("Building and tracing"):
        from paramgen.api import predict as prepare
        from paramgen.writing import companions_of, described_plan, plan_files, write_prediction

        name = arch or "-".join((prompt or ["start"])[0].split())[:40]
        folder = _folder(out, name, context if target is not None else None)
        if not dry_run:
            _refuse_folder(folder, overwrite)
        words: dict[str, Any] = {"init": init, "prompt": prompt or None, "seed": seed, "dtype": dtype}
        words |= {"overrides": _overrides(overrides), "example_input": _example(example_input), "endpoint": endpoint}
        words |= {"tokenizer": tokenizer, "strict": strict, "trace_timeout": trace_timeout, "progress": False}
        prediction = prepare(arch, **words)
        copied = companions_of(prediction, tokenizer=tokenizer, image_processor=image_processor)
        planned = plan_files(prediction, max_shard)
    reporter.warn_of(prediction.graph)
    if dry_run:
        return reporter.plan(described_plan(prediction, planned))
    with reporter.progress(prediction.architecture.manifest.elements) as advance:
        repo = None if target is None else target.repo
        how: dict[str, Any] = {
            "max_shard": max_shard,
            "overwrite": overwrite,
            "verify": check,
            "copied": copied,
            "repo": repo,
        }
        written = write_prediction(prediction, folder, progress=advance, **how)
    pushed = None if target is None else push_written(written, target, message, reporter)
    reporter.written(written, pushed, kept=pushed is None or out is not None)


@app.command()
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
    from paramgen.reporting import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    if out.suffix not in (".json", ".svg", ".html"):
        raise OptionError(f"{str(out)!r} has the ending {out.suffix!r}. Allowed: .json, .svg and .html")
    if out.exists() and not overwrite:
        raise OptionError(f"{str(out)!r} exists. Type another name, or add --overwrite")
    with reporter.stage("Building and tracing"):
        from paramgen.api import graph as describe
        from paramgen.export.folder import write_text
        from paramgen.graphs.drawing import draw_html, draw_svg
        from paramgen.graphs.wire import graph_hash, graph_to_json

        changes, example = _overrides(overrides), _example(example_input)
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


app.command()(compare)
app.command()(card)
app.command()(push)
app.command(name="tokenizer")(tokenizer_command)
app.add_typer(endpoint_app, name="endpoint")


@app.command(name="list")
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
    from paramgen.listing import listed
    from paramgen.reporting import Reporter

    Reporter(as_json=as_json, quiet=False).names(what, listed(what, source, pattern, facts=as_json))


@app.command()
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
    from paramgen.reporting import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    if memory not in ("auto", "real", "meta"):
        raise OptionError(f"Unknown --memory {memory!r}. Allowed: auto, real, meta")
    with reporter.stage("Loading with the library"):
        from paramgen.checking import check_folder

        done = check_folder(folder, memory=memory)  # type: ignore[arg-type]
    found: dict[str, Any] = {"folder": str(folder), "loaded_by": done.loaded_by, "tensors": done.tensors}
    found["memory"] = done.memory
    if done.published is not None:
        found["published"] = done.published.to_json() if as_json else str(done.published)
    reporter.record({**found, "ok": True})


@app.command()
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
    from paramgen.reporting import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    with reporter.stage("Converting"):
        from paramgen.foreign.convert import convert as convert_file

        converted = convert_file(file, out, overwrite=overwrite)
    reporter.record(converted.to_json())


@app.command()
def info(
    what: Annotated[
        str, typer.Argument(help="A folder that predict wrote, a hypernet's folder or its name, or an architecture.")
    ],
    as_json: Json = False,
) -> None:
    """Say what a folder holds or what an architecture is.

    [dim]paramgen info start
    paramgen info vision[/dim]
    """
    from paramgen.listing import describe_anything, in_words
    from paramgen.reporting import Reporter

    reporter = Reporter(as_json=as_json, quiet=False)
    with reporter.stage("Reading"):
        found = describe_anything(what)
    reporter.record(found if as_json else in_words(found))


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"paramgen {version('paramgen')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command; every expected failure is one line and exit code 2."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    _silence_libraries()
    try:
        with _streams():
            app(prog_name="paramgen")  # also for `python -m paramgen`
    except ParamgenError as error:
        _fail(error.message)
    except OSError as error:
        _fail(f"{error.strerror or error}: {error.filename or 'a file or the network'}. Check that it can be used.")
    except _Interrupted as interrupted:
        _say("Interrupted; nothing half-written is left.")
        sys.exit(128 + interrupted.number)
    except MemoryError:
        _fail("Out of memory. Try --dtype bfloat16, or a smaller architecture by --set")
    sys.exit(0)


def _streams() -> AbstractContextManager[None]:
    """Return what keeps everything but the one object off stdout, where the command is to print JSON."""
    if "--json" not in sys.argv or sys.stdout is None:
        return nullcontext()
    from paramgen.reporting import stdout_for_json

    return stdout_for_json()


def _silence_libraries() -> None:
    """Keep warnings, log lines and bars of other packages off the terminal; `python -W` brings the warnings back."""
    logging.disable(logging.CRITICAL)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class _Interrupted(BaseException):
    """Ctrl-C or a request to end; not a KeyboardInterrupt, which typer would answer itself."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _interrupt(number: int, frame: Any) -> NoReturn:
    raise _Interrupted(number)


def _fail(message: str) -> NoReturn:
    _say(f"[bold red]error:[/] {escape(' '.join(message.split()))}")
    sys.exit(2)


def _say(line: str) -> None:
    Terminal(stderr=True, soft_wrap=True).print(line)


def _overrides(assignments: list[str] | None) -> dict[str, Any]:
    from paramgen.architectures.overrides import parse_overrides

    return parse_overrides(assignments or ())


def _example(text: str | None) -> Any:
    if text is None:
        return None
    from paramgen.architectures.inputs import parse_example_input

    return parse_example_input(text)


def _refuse_folder(folder: Path, overwrite: bool) -> None:
    from paramgen.export.folder import checked_target

    checked_target(folder, overwrite=overwrite)


def _folder(out: Path | None, arch: str, context: typer.Context | None) -> Path:
    """Return the folder to write: the one asked for, or in a place that lasts as long as `context`, or one named so."""
    if out is not None:
        return out
    name = Path(folder_name(arch) or "start")
    return name if context is None else Path(context.with_resource(TemporaryDirectory())) / name


if __name__ == "__main__":
    main()
