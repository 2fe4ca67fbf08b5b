"""`paramgen predict`: initial weights, in a folder that the library loads."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from paramgen.api import TRACE_TIMEOUT
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
    Then,
    Tokenizer,
    TraceTimeout,
    folder_name,
    parsed_example,
    parsed_overrides,
)
from paramgen.cli.push import Message, Public, PullRequest, Revision

if TYPE_CHECKING:
    from paramgen.prediction.options import PredictOptions, PushOptions

DEFAULT: Final = "weights"  # the folder's name where nothing else names it


def predict(
    *,
    arch: OwnArch = None,
    out: Out = None,
    init: Init = "auto",
    prompt: Prompt = None,
    then: Then = None,
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

    [dim]paramgen predict --arch gpt2 --out weights
    paramgen predict --arch timm:resnet18 --set num_classes=37 --init library
    paramgen predict --arch vit_b16 --init he --then lowrank:0.1 --then scale:0.5
    paramgen predict --arch my_model.py:build --example-input 2x3x32x32
    paramgen predict --arch llama-1b --dtype bfloat16 --dry-run
    paramgen predict --arch vit_b16 --push me/vit-weights
    paramgen predict --prompt "pencil sketch with warm tint" --out sketch[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    with reporter.progress("Building and tracing") as progress:
        from paramgen import api

        options: "PredictOptions" = {"init": init, "prompt": prompt or None, "then": then or (), "seed": seed}
        options |= {"dtype": dtype}
        options |= {"overrides": parsed_overrides(overrides), "example_input": parsed_example(example_input)}
        options |= {"tokenizer": tokenizer, "endpoint": endpoint, "strict": strict, "trace_timeout": trace_timeout}
        how: "PushOptions" = {"push": push, "public": public, "revision": revision, "pr": pr, "message": message}
        if dry_run:
            planned = api.plan(
                arch, max_shard=max_shard, progress=progress, image_processor=image_processor, **how, **options
            )
        else:
            written = api.write(
                arch,
                out or folder_name(arch or "-".join((prompt or [DEFAULT])[0].split())[:40]) or DEFAULT,
                max_shard=max_shard,
                overwrite=overwrite,
                verify=check,
                progress=progress,
                image_processor=image_processor,
                keep=push is None or out is not None,
                **how,
                **options,
            )
    if dry_run:
        reporter.planned(planned)
    else:
        reporter.written(written)
