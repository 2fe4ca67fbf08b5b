"""The public functions. Importing this module loads neither torch nor any model library; calling does."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Unpack

from paramgen.api.diagnosis import diagnose as diagnose
from paramgen.api.endpoints import create_endpoint as create_endpoint
from paramgen.api.endpoints import export_endpoint as export_endpoint
from paramgen.api.endpoints import serve as serve
from paramgen.api.fields import fit_field as fit_field
from paramgen.api.fields import render_field as render_field
from paramgen.api.folders import card as card
from paramgen.api.folders import check as check
from paramgen.api.folders import load as load
from paramgen.api.folders import masked as masked
from paramgen.api.folders import push as push
from paramgen.api.folders import rescale_ as rescale_
from paramgen.api.folders import shared as shared
from paramgen.api.folders import unmasked as unmasked
from paramgen.api.inputs import inputs_of
from paramgen.api.listing import donors as donors
from paramgen.api.listing import fitting as fitting
from paramgen.api.listing import info as info
from paramgen.api.listing import names as names
from paramgen.api.preparing import convert as convert
from paramgen.api.preparing import prepare as prepare
from paramgen.api.preparing import train_tokenizer as train_tokenizer
from paramgen.api.recipes import recipe as recipe
from paramgen.api.recipes import restorable as restorable
from paramgen.api.recipes import restore as restore
from paramgen.api.typos import refuse_typos

if TYPE_CHECKING:
    import torch
    from torch import nn

    from paramgen.api.types import (
        Comparison,
        Filled,
        Graph,
        Planned,
        Prediction,
        Traced,
        Written,
    )
    from paramgen.comparison import Event
    from paramgen.comparison.data_module import Data
    from paramgen.comparison.models import ArchitectureLike
    from paramgen.comparison.options import ProtocolOptions
    from paramgen.prediction.options import PredictOptions
    from paramgen.prediction.progress import Progress

TRACE_TIMEOUT: Final = 300.0


def predict(
    arch: "str | nn.Module | None" = None,
    *,
    init: str = "auto",
    prompt: str | Sequence[str] | None = None,
    then: Sequence[str] = (),
    seed: int = 0,
    dtype: "str | torch.dtype | None" = None,
    overrides: Mapping[str, Any] | None = None,
    example_input: Any = None,
    tokenizer: str | None = None,
    endpoint: str | None = None,
    strict: bool = False,
    trace_timeout: float = TRACE_TIMEOUT,
    quantize: str | None = None,
    progress: bool | None = None,
) -> "Prediction":
    """Return the initial weights of `arch`, lazily: iterate for (name, tensor), or call `.state_dict()`.

    >>> prediction = paramgen.predict("timm:resnet18", init="he", seed=1)
    >>> model.load_state_dict(prediction.state_dict())

    Args:
        arch: `source:name`, an alias, `file.py:factory`, `package.module:factory`, `org/model` of the Hub, the path of
            a config.json or graph JSON, or a module, whose default initialization is what it holds. It may be left out
            where the initializer has one of its own, as `diffusion` has.
        init: The initializer: `auto` (what measured best for such networks), `hypernet`, `hypernet:folder_or_repo`,
            `library`, ... Names that torch and Keras have are known, too: `kaiming_uniform`, `glorot`, `default`.
        prompt: What the network is to do, in words, for `diffusion`; several are other words for the same.
        then: Modifiers of these weights, in this order: `["lowrank:8", "scale:0.5"]`; or `init="he|scale:0.5"`.
        seed: The same architecture, initializer and seed give the same bytes.
        dtype: `float32`, `bfloat16` or `float16`, also as `torch.bfloat16` or `bf16`; without it, the architecture's
            own.
        overrides: Entries of the architecture's config, as in `{"num_labels": 37}`.
        example_input: What the forward pass takes, where it cannot be known: a tensor, a tuple, a dict, or a text such
            as "2x3x32x32".
        tokenizer: Whose tokens a language model reads: its config follows it where nothing else is typed, and the
            hypernet for texts makes their rows of their letters.
        endpoint: The URL of a server that is to compute it; the network's graph is sent there, and how tokens are
            spelled where that matters, but no file.
        strict: Where the forward pass cannot be followed, raise a `TraceError` instead of warning; and an
            `OptionError` where a modifier leaves a layer without any weight.
        trace_timeout: Seconds after which a forward pass that does not return is ended.
        quantize: Round matrices, kernels and tables to few bits, as `nf4`, `int8` or `"nf4?block=64"` says; `write`
            stores them in as many, for sending, and `restore` makes an ordinary folder of that.
        progress: Whether to show a bar while the network is built and traced, as for `write`.

    """
    refuse_typos(arch, init=init, then=then, dtype=dtype)
    from paramgen.graphs.tracing.fallbacks import Tracing
    from paramgen.initializers import complete_spec
    from paramgen.prediction import prepare
    from paramgen.prediction.progress import reporting
    from paramgen.prediction.quantized import quantized
    from paramgen.prediction.rounding import rounding_of

    init, rounding = complete_spec(init, prompt=prompt, then=then), rounding_of(quantize)
    with reporting(progress, "build"):
        prediction = prepare(
            arch,
            init=init,
            seed=seed,
            dtype=dtype,
            overrides=overrides,
            example_input=inputs_of(example_input),
            tokenizer=tokenizer,
            tracing=Tracing(strict=strict, seconds=trace_timeout),
        )
    if prediction.choice is not None:
        logging.getLogger("paramgen").info("%r", prediction)
    if endpoint is not None:
        from paramgen.serving.client import remote

        prediction = remote(prediction, endpoint, tokenizer=prediction.requested.tokenizer)
    return prediction if rounding is None else quantized(prediction, rounding)


def plan(
    arch: "str | nn.Module | None",
    *,
    max_shard: int | str = "5GB",
    progress: "Progress | bool | None" = None,
    image_processor: str | None = None,
    push: str | None = None,
    public: bool = False,
    revision: str | None = None,
    pr: bool = False,
    message: str | None = None,
    **options: "Unpack[PredictOptions]",
) -> "Planned":
    """Return what `write` would write, and about how long that would take; nothing is written.

    >>> paramgen.plan("llama-1b", dtype="bfloat16").files

    The options are those of `write`. With `push`, the Hub is asked whether the folder could go there.
    """
    _refuse_typos(arch, options)
    from paramgen.output.planning import plan_folder, planned
    from paramgen.output.target import early_target
    from paramgen.prediction.progress import reporting

    early_target(push, public=public, revision=revision, pr=pr, message=message)
    with reporting(progress, "build"):
        prediction = predict(arch, progress=False, **options)
        tokenizer = prediction.requested.tokenizer
    return planned(plan_folder(prediction, max_shard=max_shard, tokenizer=tokenizer, image_processor=image_processor))


def write(
    arch: "str | nn.Module | None",
    folder: str | Path,
    *,
    max_shard: int | str = "5GB",
    overwrite: bool = False,
    verify: bool = True,
    progress: "Progress | bool | None" = None,
    image_processor: str | None = None,
    push: str | None = None,
    public: bool = False,
    revision: str | None = None,
    pr: bool = False,
    message: str | None = None,
    keep: bool = True,
    **options: "Unpack[PredictOptions]",
) -> "Written":
    """Predict `arch` into `folder` as its library reads it, whole or not at all.

    >>> paramgen.write("transformers:gpt2", "weights", init="hypernet")
    >>> model = transformers.AutoModelForCausalLM.from_pretrained("weights")

    Args:
        arch: As for `predict`.
        folder: New or empty, or written by paramgen before if `overwrite`.
        max_shard: Largest file, where the library reads several.
        overwrite: Replace a folder that paramgen wrote.
        verify: Load the folder with the library before it appears under its name.
        progress: Whether to show a bar; by default in a terminal or a notebook, after two seconds. Or a function: it is
            called with the stage, how much of it is done and how much there is.
        image_processor: A folder or a Hub repository whose image processor is copied beside the weights.
        push: `owner/name` of a model repository that the folder is pushed to, as by `push`.
        public: As for `push`.
        revision: As for `push`.
        pr: As for `push`.
        message: As for `push`.
        keep: Whether the folder stays here when it has been pushed.
        **options: As for `predict`; a `tokenizer` is copied beside the weights, too.

    """
    began = perf_counter()
    _refuse_typos(arch, options)
    from paramgen.output.planning import plan_folder
    from paramgen.output.target import early_target
    from paramgen.output.write import write_prediction
    from paramgen.prediction.progress import reporting
    from paramgen.storage.folder import checked_target

    target, path = early_target(push, public=public, revision=revision, pr=pr, message=message), Path(folder)
    with ExitStack() as stack:
        if not keep:
            path = Path(stack.enter_context(TemporaryDirectory())) / path.name
        real = checked_target(path, overwrite=overwrite)
        report = stack.enter_context(reporting(progress, "build"))
        prediction = predict(arch, progress=False, **options)
        tokenizer = prediction.requested.tokenizer
        planned = plan_folder(prediction, max_shard=max_shard, tokenizer=tokenizer, image_processor=image_processor)
        how: dict[str, Any] = {"overwrite": overwrite, "verify": verify, "progress": report}
        built = perf_counter() - began
        written = write_prediction(planned, path, target=real, repo=target and target.repo, **how)
        written = replace(written, seconds={"build": built, **written.seconds})
        if target is None:
            return written
        from paramgen.output.push import push_written

        return push_written(written, target, message, kept=keep, progress=report)


def _refuse_typos(arch: object, options: "PredictOptions") -> None:
    init, then, dtype = options.get("init", "auto"), options.get("then", ()), options.get("dtype")
    refuse_typos(arch, init=init, then=then, dtype=dtype)


def create(arch: str, *, progress: bool | None = None, **options: "Unpack[PredictOptions]") -> "nn.Module":
    """Return the network itself, of its library's own class, with the weights predicted in memory.

    >>> model = paramgen.create("timm:resnet18", init="he", seed=1, overrides={"num_classes": 37})

    It is on the CPU, in the mode of the library's constructor. For a live module there is `initialize_`.
    """
    from paramgen.output.fill import created

    return created(predict(arch, progress=progress, **options), progress)


def initialize_(
    module: "nn.Module",
    *,
    init: str = "auto",
    then: Sequence[str] = (),
    seed: int = 0,
    example_input: Any = None,
    strict: bool = False,
    trace_timeout: float = TRACE_TIMEOUT,
    progress: bool | None = None,
) -> "Filled":
    """Fill a live module in place, on whatever device it is, and return the rule of each slot.

    >>> filled = paramgen.initialize_(model, init="he", seed=1)
    >>> filled["conv1.weight"]
    'he'

    What the initializer leaves alone, and under `library` that is everything, keeps the value that it has, whatever
    the seed: its rule is `kept`. A module on the meta device holds nothing to keep, so it is given memory on the CPU,
    and what its layers' own reset functions draw. Do not call `to_empty` before: what stood in that memory would stay.

    The options are those of `predict` and `create`. Lazy layers get their shapes from `example_input`.
    """
    from paramgen.errors import OptionError
    from paramgen.output.fill import fill

    if isinstance(module, str):
        raise OptionError(f"{module!r} is a name; initialize_ fills a module. Call paramgen.create({module!r})")
    prediction = predict(
        module,
        init=init,
        then=then,
        seed=seed,
        example_input=example_input,
        strict=strict,
        trace_timeout=trace_timeout,
        progress=progress,
    )
    return fill(module, prediction, progress)


def trace(module: "nn.Module", *, example_input: Any = None) -> "Graph":
    """Return the graph of a live module, which is not changed; raise a `TraceError` if it cannot be followed.

    >>> paramgen.trace(model, example_input=torch.zeros(2, 3, 224, 224))
    Graph(123 nodes, 138 edges, traced by fake tensors)
    """
    from paramgen.prediction import describe

    return describe(module, example_input=inputs_of(example_input))[1]


def graph(
    arch: "str | nn.Module",
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    overrides: Mapping[str, Any] | None = None,
    example_input: Any = None,
    strict: bool = False,
    trace_timeout: float = TRACE_TIMEOUT,
) -> "Traced":
    """Return an architecture and its graph, and write them to a file, if one is named.

    >>> architecture, graph = paramgen.graph("vit_b16", out="vit_b16.svg")

    `out` is a new file: `.json` to predict from, `.svg` or `.html` to look at. The others are those of `predict`.
    """
    refuse_typos(arch)
    from paramgen.graphs.tracing.fallbacks import Tracing
    from paramgen.output.graph import traced

    return traced(
        arch,
        overrides=overrides,
        example_input=inputs_of(example_input),
        tracing=Tracing(strict=strict, seconds=trace_timeout),
        out=None if out is None else Path(out),
        overwrite=overwrite,
    )


def compare(
    arch: "ArchitectureLike | Sequence[ArchitectureLike]",
    data: "Data",
    *,
    init: str | Sequence[str] = ("hypernet", "library"),
    out: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    example_input: Any = None,
    tokenizer: str | None = None,
    vocabulary: int | None = None,
    progress: "Callable[[Event], None] | bool | None" = None,
    **protocol: "Unpack[ProtocolOptions]",
) -> "Comparison":
    """Train `arch` on `data` from several initializations, all alike, and return which trains best.

    >>> comparison = paramgen.compare("timm:resnet18", "photos", init=["he", "library"], steps=300, lr=[1e-3, 3e-3])
    >>> comparison.conclusion[0]

    Args:
        arch: As for `predict`, or several of them; a pair of a name and a function that builds a module is one, too.
            The default initialization of a module is the same for every seed, that of what can be built again is not.
        data: A folder of class folders, a tar of it, a text, `torchvision:NAME?root=DIR`, or `datasets:NAME_OR_PATH`.
        init: The initializers to compare, each with its modifiers, if it has any: `"he|lowrank:8"`.
        out: A folder for results, curves and finished runs; a second call with the same settings goes on there.
        overrides: As for `predict`.
        example_input: As for `predict`.
        tokenizer: For a text: a folder, a tokenizer.json or a Hub repository; without it, bytes are learnt.
        vocabulary: For a text: number of tokens of a tokenizer that is trained on it, and kept in `out`.
        progress: Whether to show a bar, as for `write`; or called with an `Event` as training goes on.
        **protocol: How each is trained, the fields of `paramgen.comparison.Protocol`: `steps`, `seeds`, `lr` (one
            learning rate, or a grid of which each initialization gets its best; `"mup"` or `"mup:1e-3,3e-3?base=64"`:
            by layer, those of hidden and output matrices times 256, or 64, / fan-in), `widen`, `batch`, `schedule`,
            `warmup`, `decay`, `clip`, `evaluations`, `full_grid`, `train_examples`, `test_examples`, `length`.

    """
    from paramgen.comparison import Protocol
    from paramgen.comparison import compare as run
    from paramgen.prediction.progress import comparing

    with comparing(progress) as compared:
        return run(
            arch,
            data,
            (init,) if isinstance(init, str) else init,
            Protocol(**protocol),
            None if out is None else Path(out),
            overrides=overrides,
            example_input=inputs_of(example_input),
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            progress=compared,
        )
