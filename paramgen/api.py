"""The public functions. Importing this module loads neither torch nor any model library; calling does."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Unpack

if TYPE_CHECKING:
    import torch
    from torch import nn

    from paramgen.architectures import Architecture
    from paramgen.comparison import Comparison, Event
    from paramgen.comparison.data_module import Data
    from paramgen.comparison.models import ArchitectureLike
    from paramgen.comparison.options import ProtocolOptions
    from paramgen.graphs.schema import Graph
    from paramgen.hub.commit import Progress, Pushed
    from paramgen.output.stream import Advance
    from paramgen.output.verify import Checked, Memory
    from paramgen.output.write import Filled, Written
    from paramgen.prediction import Prediction

TRACE_TIMEOUT: Final = 300.0


def predict(
    arch: "str | nn.Module | None" = None,
    *,
    init: str = "auto",
    prompt: str | Sequence[str] | None = None,
    seed: int = 0,
    dtype: "str | torch.dtype | None" = None,
    overrides: Mapping[str, Any] | None = None,
    example_input: Any = None,
    tokenizer: str | None = None,
    endpoint: str | None = None,
    strict: bool = False,
    trace_timeout: float = TRACE_TIMEOUT,
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
        strict: Where the forward pass cannot be followed, raise a `TraceError` instead of warning.
        trace_timeout: Seconds after which a forward pass that does not return is ended.
        progress: Whether to show a bar while the network is built and traced; by default in a terminal or a notebook,
            after two seconds.

    """
    from paramgen.graphs.tracing.fallbacks import Tracing
    from paramgen.prediction import prepare
    from paramgen.prediction.progress import bar

    if prompt is not None:
        from paramgen.initializers import with_prompts

        init = with_prompts(init, prompt)
    with bar(progress, "Building and tracing"):
        prediction = prepare(
            arch,
            init=init,
            seed=seed,
            dtype=dtype,
            overrides=overrides,
            example_input=_inputs(example_input),
            tokenizer=tokenizer,
            tracing=Tracing(strict=strict, seconds=trace_timeout),
        )
    if prediction.chosen:
        logging.getLogger("paramgen").info("%r", prediction)
    if endpoint is None:
        return prediction
    from paramgen.serving.client import remote

    return remote(prediction, endpoint, tokenizer=tokenizer)


def write(
    arch: "str | nn.Module | None",
    folder: str | Path,
    *,
    max_shard: int | str = "5GB",
    overwrite: bool = False,
    verify: bool = True,
    progress: "Advance | bool | None" = None,
    tokenizer: str | None = None,
    image_processor: str | None = None,
    **options: Any,
) -> "Written":
    """Predict `arch` into `folder` as its library reads it, whole or not at all.

    >>> paramgen.write("transformers:gpt2", "start", init="hypernet")
    >>> model = transformers.AutoModelForCausalLM.from_pretrained("start")

    Args:
        arch: As for `predict`.
        folder: New or empty, or written by paramgen before if `overwrite`.
        max_shard: Largest file, where the library reads several.
        overwrite: Replace a folder that paramgen wrote.
        verify: Load the folder with the library before it appears under its name.
        progress: Whether to show a bar; by default in a terminal or a notebook, after two seconds. Or a function: it is
            called with the stage and the number of elements done.
        tokenizer: A folder, a tokenizer.json or a Hub repository whose tokenizer is copied beside the weights.
        image_processor: A folder or a Hub repository whose image processor is copied beside the weights.
        **options: As for `predict`.

    """
    from paramgen.output.write import companions_of, write_prediction
    from paramgen.prediction.progress import advancing

    shown = None if progress is None else progress is True
    prediction = predict(arch, tokenizer=tokenizer, progress=shown, **options)
    with advancing(progress, prediction.architecture.manifest.elements) as advance:
        return write_prediction(
            prediction,
            Path(folder),
            copied=companions_of(prediction, tokenizer=tokenizer, image_processor=image_processor),
            max_shard=max_shard,
            overwrite=overwrite,
            verify=verify,
            progress=advance,
        )


def create(arch: str, *, progress: bool | None = None, **options: Any) -> "nn.Module":
    """Return the network itself, of its library's own class, with the weights predicted in memory.

    >>> model = paramgen.create("timm:resnet18", init="he", seed=1, overrides={"num_classes": 37})

    It is in the mode that the library's constructor leaves it in, on the CPU, and nothing is written.

    Args:
        arch: As for `predict`, by name or by `file.py:factory`; for a live module there is `initialize_`.
        progress: Whether to show a bar; by default in a terminal or a notebook, after two seconds.
        **options: As for `predict`.

    """
    from paramgen.output.write import created

    return created(predict(arch, progress=progress, **options), progress)


def initialize_(
    module: "nn.Module",
    *,
    init: str = "auto",
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

    Args:
        module: The module to fill.
        init: The initializer.
        seed: The same module, initializer and seed give the same values.
        example_input: What the forward pass takes, where it cannot be known. Lazy layers get their shapes from it.
        strict: As for `predict`.
        trace_timeout: As for `predict`.
        progress: As for `create`.

    """
    from paramgen.errors import OptionError
    from paramgen.output.write import fill

    if isinstance(module, str):
        raise OptionError(f"{module!r} is a name; initialize_ fills a module. Call paramgen.create({module!r})")
    options: dict[str, Any] = {"strict": strict, "trace_timeout": trace_timeout, "progress": progress}
    return fill(module, predict(module, init=init, seed=seed, example_input=example_input, **options), progress)


def trace(module: "nn.Module", *, example_input: Any = None) -> "Graph":
    """Return the graph of a live module, which is not changed; raise a `TraceError` if it cannot be followed.

    >>> paramgen.trace(model, example_input=torch.zeros(2, 3, 224, 224))
    Graph(123 nodes, 138 edges, traced by fake tensors)
    """
    from paramgen.prediction import describe

    return describe(module, example_input=_inputs(example_input))[1]


def graph(
    arch: "str | nn.Module",
    *,
    overrides: Mapping[str, Any] | None = None,
    example_input: Any = None,
    strict: bool = False,
    trace_timeout: float = TRACE_TIMEOUT,
) -> "tuple[Architecture, Graph]":
    """Return an architecture and its graph: `paramgen.graphs.graph_json` makes JSON of them, `drawing` a picture.

    >>> architecture, graph = paramgen.graph("vit_b16")

    The options are those of `predict`.
    """
    from paramgen.graphs.tracing.fallbacks import Tracing
    from paramgen.prediction import describe

    tracing = Tracing(strict=strict, seconds=trace_timeout)
    return describe(arch, overrides=overrides, example_input=_inputs(example_input), tracing=tracing)


def load(folder: str | Path, module: "nn.Module | None" = None) -> "nn.Module":
    """Return the module that `folder` describes with its weights, loaded by its library; or load into `module`.

    >>> model = paramgen.load("start")
    """
    from paramgen.output.verify import load_folder

    return load_folder(Path(folder), module)


def check(folder: str | Path, *, memory: "Memory" = "auto") -> "Checked":
    """Load `folder` with its library and compare every tensor; raise a `CheckError` at the first difference.

    >>> paramgen.check("start").loaded_by
    'transformers'
    """
    from paramgen.output.verify import check_folder

    return check_folder(Path(folder), memory=memory)


def push(
    folder: str | Path,
    repo: str,
    *,
    public: bool = False,
    revision: str | None = None,
    pr: bool = False,
    message: str | None = None,
    progress: "Progress | bool | None" = None,
) -> "Pushed":
    """Push what `write` made, a hypernet or a pipeline to the Hugging Face Hub: in one commit, or not at all.

    >>> paramgen.push("start", "me/vit-start").url
    'https://huggingface.co/me/vit-start'

    Args:
        folder: Of one of these. It is checked first, as by `check`.
        repo: `owner/name` of a model repository, made if there is none.
        public: Whether everybody may see it; a new repository is private otherwise.
        revision: A branch, made if there is none.
        pr: Open a pull request instead of changing the branch.
        message: Of the commit.
        progress: Whether to show a bar, as for `write`; or called with what is done, and the bytes that are done and to
            be done.

    """
    from paramgen.hub.commit import Target
    from paramgen.output.push import push_folder
    from paramgen.prediction.progress import transferring

    target = Target(repo=repo, public=public, revision=revision, pr=pr)
    with transferring(progress) as transferred:
        return push_folder(Path(folder), target, message=message, progress=transferred)[1]


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
        init: The initializers to compare.
        out: A folder for results, curves and finished runs; a second call with the same settings goes on there.
        overrides: As for `predict`.
        example_input: As for `predict`.
        tokenizer: For a text: a folder, a tokenizer.json or a Hub repository; without it, bytes are learnt.
        vocabulary: For a text: number of tokens of a tokenizer that is trained on it, and kept in `out`.
        progress: Whether to show a bar, as for `write`; or called with an `Event` as training goes on.
        **protocol: How each is trained, the fields of `paramgen.comparison.Protocol`: `steps`, `seeds`, `lr` (one
            learning rate, or a grid of which each initialization gets its best), `widen`, `batch`, `schedule`,
            `warmup`, `decay`, `clip`, `evaluations`, `full_grid`, `train_examples`, `test_examples`, `length`.

    Raises:
        ParamgenError: The data, an architecture or an initializer cannot be used, or `out` belongs to something else.

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
            example_input=_inputs(example_input),
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            progress=compared,
        )


def _inputs(example_input: Any) -> Any:
    if example_input is None:
        return None
    from paramgen.architectures.inputs import as_inputs, parse_example_input

    return parse_example_input(example_input) if isinstance(example_input, str) else as_inputs(example_input)
