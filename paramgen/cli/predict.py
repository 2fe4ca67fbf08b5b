"""`paramgen predict`: initial weights, in a folder that the library loads."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from paramgen.api import TRACE_TIMEOUT
from paramgen.api.unbuilt import unbuilt_first
from paramgen.cli.options import (
    As,
    Dtype,
    Endpoint,
    ExampleInput,
    ImageProcessor,
    Init,
    Json,
    LicenseAllow,
    MaxShard,
    Out,
    Overrides,
    OwnArch,
    Prompt,
    PushTo,
    Quantize,
    Quiet,
    Strict,
    Then,
    Tokenizer,
    TraceTimeout,
    Yes,
    folder_name,
    inherit_options,
    parsed_example,
    parsed_overrides,
)
from paramgen.cli.push import Message, Public, PullRequest, Revision
from paramgen.errors import OptionError, UnconfirmedError

if TYPE_CHECKING:
    from paramgen.cli.output import Reporter
    from paramgen.prediction.options import PredictOptions, PushOptions

DEFAULT: Final = "weights"  # the folder's name where nothing else names it
FORMS: Final = ("folder", "recipe")  # of what is written


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
    as_: As = "folder",
    quantize: Quantize = None,
    example_input: ExampleInput = None,
    tokenizer: Tokenizer = None,
    image_processor: ImageProcessor = None,
    endpoint: Endpoint = None,
    strict: Strict = False,
    trace_timeout: TraceTimeout = TRACE_TIMEOUT,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder that paramgen wrote.")] = False,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Load the folder with its library.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Build, trace and plan; write nothing.")] = False,
    license_allow: LicenseAllow = None,
    yes: Yes = False,
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
    paramgen predict --prompt "pencil sketch with warm tint" --out sketch
    paramgen predict --arch gpt2-large --as recipe --out gpt2.json[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    _refuse_form(as_, dry_run=dry_run, push=push, quantize=quantize)

    def run(*, yes: bool) -> Any:
        with reporter.progress("Building and tracing") as progress:
            from paramgen import api

            init_spec = inherit_options(init, yes=yes, license_allow=license_allow)
            options: "PredictOptions" = {"init": init_spec, "prompt": prompt or None, "then": then or (), "seed": seed}
            options |= {"dtype": dtype, "overrides": parsed_overrides(overrides)}
            options |= {"example_input": parsed_example(example_input), "tokenizer": tokenizer, "endpoint": endpoint}
            options |= {"strict": strict, "trace_timeout": trace_timeout, "quantize": quantize}
            how: "PushOptions" = {"push": push, "public": public, "revision": revision, "pr": pr, "message": message}
            own: dict[str, Any] = {"max_shard": max_shard, "progress": progress, "image_processor": image_processor}
            if dry_run:
                return api.plan(arch, **own, **how, **options)
            named = folder_name(arch or "-".join((prompt or [DEFAULT])[0].split())[:40]) or DEFAULT
            if as_ == "recipe":
                return api.recipe(arch, out or f"{named}.recipe.json", overwrite=overwrite, **own, **options)
            own |= {"overwrite": overwrite, "verify": check, "keep": push is None or out is not None}
            return api.write(arch, out or named, **own, **how, **options)

    if (done := _confirmed(run, reporter, yes=yes, dry_run=dry_run)) is not None:
        _print(done, reporter, form="plan" if dry_run else as_, as_json=as_json)


def _print(done: Any, reporter: "Reporter", *, form: str, as_json: bool) -> None:
    """Print what was planned or written."""
    if form == "recipe":
        reporter.record(done.to_json() if as_json else done.in_words())
    else:
        (reporter.planned if form == "plan" else reporter.written)(done)


def _refuse_form(form: str, *, dry_run: bool, push: str | None, quantize: str | None) -> None:
    """Refuse what is neither a folder nor a recipe, and what a recipe is not used for."""
    if form not in FORMS:
        raise OptionError(f"Unknown --as {form!r}. Allowed: {' and '.join(FORMS)}")
    if form == "recipe" and (dry_run or push is not None or quantize is not None):
        option = "--dry-run" if dry_run else "--quantize" if push is None else "--push"
        raise OptionError(f"{option} is about a folder, and --as recipe writes none. Leave one of them out")


def _confirmed(run: Callable[..., Any], reporter: "Reporter", *, yes: bool, dry_run: bool) -> Any:
    """Return what a run returns, with the download that it needs confirmed; None where a dry run would need one."""
    try:
        return unbuilt_first(partial(run, yes=yes and not dry_run))
    except UnconfirmedError as error:
        if dry_run:
            reporter.record(error.details)
            return None
        if not reporter.confirms(error):
            raise OptionError(f"{error.what} Type the same with --yes") from error
    return run(yes=True)
