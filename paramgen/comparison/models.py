"""An architecture made ready to be trained: with a head that fits the data, in real memory, and tried once."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from paramgen.architectures import (
    Architecture,
    FolderLayout,
    Inputs,
    built,
    library_example,
    library_pixel_std,
    resolve,
)
from paramgen.architectures.inputs import guess_inputs
from paramgen.architectures.lazy import with_shapes
from paramgen.architectures.memory import own_copy
from paramgen.architectures.module import from_module
from paramgen.architectures.recorder import record
from paramgen.errors import ArchitectureError, OptionError, UnknownNameError, one_line
from paramgen.graphs.schema import Graph
from paramgen.graphs.tracing.fallbacks import graph_of
from paramgen.initializers import ResolvedInitializer
from paramgen.initializers.library import Library
from paramgen.output.planning import plan_folder
from paramgen.output.verify import load_folder
from paramgen.output.write import write_prediction
from paramgen.prediction import Prediction
from paramgen.registry.overrides import split_spec
from paramgen.slots.manifest import read_manifest
from paramgen.storage.regular import refuse_irregular

ArchitectureLike = str | nn.Module | tuple[str, Callable[[], nn.Module]]
"""What `predict` takes, a module, or a name and a function that builds a module."""

_BATCHES = {"images": "one batch of images (2, channels, height, width)", "text": "one batch of tokens (2, n)"}

HEADS = {"images": ("num_classes", "num_labels"), "text": ("vocab_size",)}
"""The options by which libraries and own factories take the number of answers."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelUnderTest:
    """An architecture with its graph and its module: `template` is on the CPU and never trained, runs train copies."""

    name: str
    architecture: Architecture
    graph: Graph
    template: nn.Module
    argument: int | str  # which argument of the forward pass is the batch: its position or its name
    example: Tensor
    notes: list[str] = field(default_factory=list)

    def logits(self, module: nn.Module, inputs: Tensor) -> Tensor:
        """Run a copy of the template on a batch and return its scores."""
        args, kwargs = self.arguments(inputs)
        return scores_of(module(*args, **kwargs))

    def arguments(self, inputs: Tensor) -> Inputs:
        """Return what the forward pass takes, with a batch in its place."""
        given = self.architecture.example
        assert given is not None  # it was traced
        args, kwargs = list(given[0]), dict(given[1])
        if isinstance(self.argument, int):
            args[self.argument] = inputs
        else:
            kwargs[self.argument] = inputs
        return tuple(args), kwargs

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of what the network takes."""
        return self.example.dtype


def model_under_test(
    given: ArchitectureLike,
    kind: str | None,
    answers: int | None,
    *,
    overrides: Mapping[str, Any] | None = None,
    example: Inputs | None = None,
    size: tuple[int, int] | None = None,
) -> ModelUnderTest:
    """Build an architecture with a head for `answers` classes or tokens where its options allow that.

    `kind` is `images` or `text`; without data there is none, and no number of answers: the architecture has its own.
    `size` is that of the images: nothing larger is guessed for a module that does not say what it takes.
    """
    notes: list[str] = []
    if overrides and not isinstance(given, str):
        raise OptionError("Overrides change a named architecture's config; a module or a function has its own.")
    template: nn.Module | None = None  # of what is named, its library loads one
    if isinstance(given, str):
        name = given
        architecture, note = _resolved(given, kind, answers, dict(overrides or {}), example)
        notes += [note] if note else []
    elif isinstance(given, nn.Module):
        architecture, template = _live(given, example)
        name = architecture.spec
        held = "what an initializer leaves alone is what it holds, the same for every seed"
        notes.append(f"{name} is a live module: {held}.")
    else:
        name, build = given
        architecture, template = _recorded(name, build, example), with_shapes(_called(build), example).cpu()
    if size is not None and (smaller := _as_small(architecture, size)) is not None:
        architecture = replace(architecture, example=((smaller,), {}))
        height, width = size
        notes.append(f"{name} is given images of {height}x{width}, as yours are; for others type --example-input.")
    graph = graph_of(architecture)
    argument, batch = _main_input(name, architecture.example, kind)
    return ModelUnderTest(
        name=name,
        architecture=architecture,
        graph=graph,
        template=(_real(architecture, graph) if template is None else template).float(),
        argument=argument,
        example=batch,
        notes=notes,
    )


@torch.no_grad()
def try_out(model: ModelUnderTest, inputs: Tensor, kind: str, answers: int) -> None:
    """Run the network on a batch of two, and refuse what cannot be compared.

    Raises:
        ArchitectureError: The forward pass fails, its result has a wrong shape, or a language model reads ahead.
    """
    module = model.template.eval()
    rows = getattr(getattr(module, "config", None), HEADS["text"][0], None) if kind == "text" else None
    if isinstance(rows, int) and rows < answers:
        raise ArchitectureError(
            f"{model.name} has a vocabulary of {rows:,}; your data has {answers:,} tokens. Type: --set "
            f"{HEADS['text'][0]}={answers}"
        )
    try:
        logits = model.logits(module, inputs)
    except Exception as error:  # a forward pass may raise anything
        raise ArchitectureError(
            f"{model.name} does not run on {_shape(inputs)} of your data: {type(error).__name__}: {one_line(error)}"
        ) from error
    wanted = 2 if kind == "images" else 3
    if logits.ndim != wanted or logits.shape[0] != len(inputs):
        expected = "(images, classes)" if kind == "images" else "(texts, tokens, vocabulary)"
        raise ArchitectureError(
            f"{model.name} returns {_shape(logits)} for {_shape(inputs)}; compare needs scores of shape {expected}."
        )
    if logits.shape[-1] < answers:
        option = HEADS[kind][0]
        raise ArchitectureError(
            f"{model.name} has {logits.shape[-1]} outputs; your data has {answers} "
            f"{'classes' if kind == 'images' else 'tokens'}. Give its factory a parameter {option}, or type: --set "
            f"{option}={answers}"
        )
    if logits.shape[-1] > answers:
        model.notes.append(f"{model.name} has {logits.shape[-1]} outputs, of which {answers} are used.")
    if kind == "text":
        changed = inputs.clone()
        changed[:, -1] = (changed[:, -1] + 1) % answers
        ahead = (model.logits(module, changed) - logits)[:, :-1].abs().max()
        if float(ahead) > 1e-3 * float(logits.abs().max()):
            raise ArchitectureError(
                f"{model.name} sees the tokens that it should predict; compare needs a causal language model, such as "
                "gpt2 or transformers:LlamaForCausalLM."
            )


def _live(module: nn.Module, example: Inputs | None) -> tuple[Architecture, nn.Module]:
    """Describe a module and return a copy of it; refuse one without values."""
    if any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        raise OptionError(
            f"{type(module).__name__} is on the meta device, and compare trains values. Build it on the CPU, or "
            "give a pair of a name and a function that builds it."
        )
    return from_module(module, example), with_shapes(own_copy(module), example).cpu()


def _resolved(
    spec: str, kind: str | None, answers: int | None, overrides: dict[str, Any], example: Inputs | None
) -> tuple[Architecture, str]:
    """Resolve with the number of answers where the user did not type one and the architecture takes one."""
    typed = {**split_spec(spec)[1], **overrides}
    if spec.endswith(".json") and "graph" in _beginning(spec):
        raise OptionError(
            f"{spec} is a graph; compare trains the network itself. Give --arch a name or file.py:factory"
        )
    if kind is not None and not any(option in typed for option in HEADS[kind]):
        for option in HEADS[kind]:
            try:
                architecture = resolve(spec, {**overrides, option: answers}, example)
            except (UnknownNameError, ArchitectureError):
                continue  # whatever else is wrong with it, the next call says without this option
            return architecture, f"{spec} was built with {option}={answers}, as your data has it."
    return resolve(spec, overrides, example), ""


def _as_small(architecture: Architecture, size: tuple[int, int]) -> Tensor | None:
    """Return images of `size` where larger ones were guessed."""
    given = architecture.example[0][0] if architecture.guessed and architecture.example is not None else None
    if not isinstance(given, Tensor) or given.ndim != 4 or max(given.shape[2:]) <= min(size):
        return None
    return given.new_zeros(*given.shape[:2], *size)


def _beginning(spec: str) -> str:
    refuse_irregular(Path(spec), OptionError, "Give --arch a name or file.py:factory")
    try:
        with Path(spec).open(encoding="utf-8", errors="replace") as file:
            return "graph" if '"paramgen_graph"' in file.read(4096) else ""
    except OSError:
        return ""


def _called(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build()


def _shaped(module: Any, example: Inputs | None) -> Any:
    return with_shapes(module, example) if isinstance(module, nn.Module) else module


def _recorded(name: str, build: Callable[[], nn.Module], example: Inputs | None) -> Architecture:
    """Describe what a function builds: what its constructors draw is its default initialization."""
    try:
        module, draws = record(lambda: _shaped(build(), example))
    except Exception as error:  # a user's function may raise anything
        raise built(name, error) from error
    known = example or library_example(module)
    return Architecture(
        spec=name,
        module=module,
        manifest=read_manifest(module, draws),
        example=known or guess_inputs(module),
        guessed=known is None,
        layout=FolderLayout(source="module", config={"architecture": name}, tied="once", shardable=True),
        pixel_std=library_pixel_std(module),
    )


def _real(architecture: Architecture, graph: Graph) -> nn.Module:
    """Return the network as its library loads it: what is in no state dict is then right, too."""
    prediction = Prediction(
        architecture=architecture,
        graph=graph,
        resolved=ResolvedInitializer(initializer=Library()),
        init="library",
        seed=0,
        dtype=None,
    )
    with tempfile.TemporaryDirectory(prefix="paramgen-") as folder:
        target = Path(folder) / "model"
        write_prediction(plan_folder(prediction, max_shard="50GB"), target)
        return load_folder(target)


def _main_input(name: str, example: Inputs | None, kind: str | None) -> tuple[int | str, Tensor]:
    """Return the one argument that is a tensor, and it: images or tokens; without a kind, either."""
    args, kwargs = example or ((), {})
    given_by: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    tensors = [(key, value) for key, value in given_by if isinstance(value, Tensor)]
    fits = len(tensors) == 1 and (
        (kind in ("images", None) and tensors[0][1].ndim == 4 and tensors[0][1].is_floating_point())
        or (kind in ("text", None) and tensors[0][1].ndim == 2 and not tensors[0][1].is_floating_point())
    )
    if not fits:
        taken = " and ".join(f"{key}: {_shape(value)}" for key, value in tensors)
        needed = " or ".join(words for each, words in _BATCHES.items() if kind in (each, None))
        shape = "2x16:long" if kind == "text" else "2x3x32x32"
        wants = "what it is trained on is" if kind is None else "your data needs a network that takes"
        raise ArchitectureError(
            f"{name} takes {taken or 'no tensor'}; {wants} {needed}. Where the shape was guessed wrong, type: "
            f"--example-input {shape}"
        )
    key, given = tensors[0]
    return key, given


def scores_of(result: Any) -> Tensor:
    """Return the scores in what a forward pass returned: a tensor, the first of several, or `.logits`."""
    if isinstance(result, Tensor):
        return result
    found = result.get("logits") if isinstance(result, Mapping) else getattr(result, "logits", None)
    if found is None and isinstance(result, (tuple, list)) and result:
        found = result[0]
    if not isinstance(found, Tensor):
        raise ArchitectureError(f"its forward pass returns {type(result).__name__} without logits")
    return found


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"
