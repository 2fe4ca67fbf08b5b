"""`paramgen predict`: initial weights, in a folder that the library loads."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from paramgen.api import TRACE_TIMEOUT
from paramgen.cli.compare import folder_name
from paramgen.cli.options import (
    Dtype,
    Endpoint,
    ExampleInput,
    ImageProcessor,
    Init,
    Json,
    MaxShard,
    Out,
    Overrides,
    OwnArch,
    Prompt,
    PushTo,
    Quiet,
    Strict,
    Tokenizer,
    TraceTimeout,
    parsed_example,
    parsed_overrides,
)
from paramgen.cli.push import Message, Public, PullRequest, Revision, early_target, push_written


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
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    target = early_target(push, public=public, revision=revision, pr=pr, message=message)
    with reporter.stage("Building and tracing"):
        from paramgen.api import predict as prepare
        from paramgen.output.write import companions_of, described_plan, plan_files, write_prediction

        name = arch or "-".join((prompt or ["start"])[0].split())[:40]
        folder = _folder(out, name, context if target is not None else None)
        if not dry_run:
            _refuse_folder(folder, overwrite)
        words: dict[str, Any] = {"init": init, "prompt": prompt or None, "seed": seed, "dtype": dtype}
        words |= {"overrides": parsed_overrides(overrides), "example_input": parsed_example(example_input)}
        words |= {"endpoint": endpoint, "tokenizer": tokenizer, "strict": strict, "trace_timeout": trace_timeout}
        prediction = prepare(arch, **words, progress=False)
        copied = companions_of(prediction, tokenizer=tokenizer, image_processor=image_processor)
        planned = plan_files(prediction, max_shard)
    reporter.warn_of(prediction.graph)
    if dry_run:
        return reporter.plan(described_plan(prediction, planned))
    with reporter.progress(prediction.architecture.manifest.elements) as advance:
        how: dict[str, Any] = {"max_shard": max_shard, "overwrite": overwrite, "verify": check, "copied": copied}
        how |= {"repo": None if target is None else target.repo}
        written = write_prediction(prediction, folder, progress=advance, **how)
    pushed = None if target is None else push_written(written, target, message, reporter)
    reporter.written(written, pushed, kept=pushed is None or out is not None)


def _refuse_folder(folder: Path, overwrite: bool) -> None:
    from paramgen.storage.folder import checked_target

    checked_target(folder, overwrite=overwrite)


def _folder(out: Path | None, arch: str, context: typer.Context | None) -> Path:
    """Return the folder to write: the one asked for, or in a place that lasts as long as `context`, or one named so."""
    if out is not None:
        return out
    name = Path(folder_name(arch) or "start")
    return name if context is None else Path(context.with_resource(TemporaryDirectory())) / name
