"""The network of a diagnosis: its architecture, the examples that it is run on, and what makes its weights."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from paramgen.architectures import Architecture, Inputs
from paramgen.architectures.inputs import parse_example_input
from paramgen.architectures.module import from_module
from paramgen.comparison.comparing import typed_vocabulary
from paramgen.comparison.data_module import DataModule
from paramgen.comparison.initializers import requested_initializers
from paramgen.comparison.models import model_under_test, try_out
from paramgen.comparison.protocol import Protocol
from paramgen.diagnosis.sample import Sample, noise_sample, task_sample, tensor_sample
from paramgen.errors import OptionError
from paramgen.graphs.cache import cached_graph
from paramgen.graphs.schema import Graph
from paramgen.graphs.tracing.fallbacks import Tracing
from paramgen.initializers import Initializer
from paramgen.initializers.library import KEPT, LIBRARY
from paramgen.output.verify import load_folder, read_report
from paramgen.prediction import describe, prediction_of
from paramgen.registry.synonyms import known_init
from paramgen.slots.manifest import state_of

EXAMPLES: Final = 32

Weights = Callable[[int], Mapping[str, Tensor]]
"""Makes the initial weights of a seed."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetworkToDiagnose:
    """A network, its examples, and what makes the weights of each initialization."""

    architecture: Architecture
    graph: Graph
    sample: Sample
    columns: Mapping[str, Weights]  # by what the initialization is called
    held: frozenset[str]  # those that are the same for every seed
    notes: tuple[str, ...]


def networks_of(network: NetworkToDiagnose, init: str, seeds: Sequence[int]) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Yield each seed with the weights of one initialization, as copies; once where all seeds have the same."""
    for seed in seeds[:1] if init in network.held else seeds:
        yield seed, {name: tensor.detach().clone() for name, tensor in network.columns[init](seed).items()}


def prepared(
    arch: "str | nn.Module | None",
    inits: Sequence[str] | None,
    *,
    folders: Sequence[Path],
    data: Any,
    overrides: Mapping[str, Any] | None,
    example_input: Inputs | None,
    tokenizer: str | None,
    examples: int | None,
    seed: int,
) -> NetworkToDiagnose:
    """Build the network, open the data, and read every initializer's and folder's files."""
    modules = {f"folder:{folder}": load_folder(folder) for folder in folders}
    requested = _initializers(inits, folders)
    if arch is None:
        if not folders:
            raise OptionError("No architecture is named. Type: --arch timm:resnet18, or --folder FOLDER")
        arch, example_input = modules[f"folder:{folders[0]}"], example_input or _recorded_example(folders[0])
    if tokenizer is not None and not isinstance(data, (str, Path)):
        raise OptionError("--tokenizer is of a text, and there is none. Type: --data TEXT, or leave it out")
    if isinstance(data, Tensor) or (isinstance(data, tuple) and all(isinstance(each, Tensor) for each in data)):
        sample = tensor_sample(data, examples=examples)
        meta = tuple(each.to("meta") for each in sample.args)
        architecture, graph = _described(arch, overrides, example_input or (meta, {}))
        notes: tuple[str, ...] = ()
    elif data is None:
        architecture, graph = _described(arch, overrides, example_input)
        sample = noise_sample(architecture, graph, examples=examples or EXAMPLES, seed=seed)
        notes = (
            f"The examples are {sample.source}, as no data are named; on your own, figures differ: --data FOLDER.",
        )
    else:
        architecture, graph, sample, requested, notes = _with_data(
            arch, data, requested, overrides=overrides, example=example_input, tokenizer=tokenizer,
            examples=examples or EXAMPLES, seed=seed,
        )  # fmt: skip
    if architecture.module is None:
        raise OptionError(
            "diagnose runs the network, and a graph's JSON is none. Give --arch a name or file.py:factory"
        )
    noted = (*architecture.notes, *notes)
    return filled(architecture, graph, sample, requested=requested, folders=modules, notes=noted)


def _initializers(inits: Sequence[str] | None, folders: Sequence[Path]) -> dict[str, Initializer]:
    if inits is None:
        inits = () if folders else (LIBRARY,)
    if len(set(folders)) < len(folders):
        raise OptionError(f"The folder {str(folders[0])!r} is named twice. Type each --folder once")
    return requested_initializers([known_init(init) for init in inits]) if inits or not folders else {}


def _described(
    arch: "str | nn.Module", overrides: Mapping[str, Any] | None, example: Inputs | None
) -> tuple[Architecture, Graph]:
    if isinstance(arch, nn.Module) and any(each.is_meta for each in (*arch.parameters(), *arch.buffers())):
        architecture = from_module(arch, example)  # filled as its own reset functions would
        return architecture, cached_graph(architecture, Tracing())
    return describe(arch, overrides=overrides, example_input=example, tracing=Tracing())


def _with_data(
    arch: "str | nn.Module",
    data: Any,
    requested: Mapping[str, Initializer],
    *,
    overrides: Mapping[str, Any] | None,
    example: Inputs | None,
    tokenizer: str | None,
    examples: int,
    seed: int,
) -> tuple[Architecture, Graph, Sample, dict[str, Initializer], tuple[str, ...]]:
    """Read data as `compare` does, and give the network a head that fits them."""
    protocol = Protocol(steps=1, seeds=1, batch=max(2, examples), test_examples=2)
    spec = [arch] if isinstance(arch, str) else []
    typed = typed_vocabulary(spec, overrides or {}) if spec else None
    opened = DataModule(data, protocol, tokenizer=tokenizer, typed=typed, cache=None)
    model = model_under_test(arch, opened.kind, opened.answers, overrides=overrides, example=example, size=opened.size)
    task = opened.task(model)
    try_out(model, next(task.train_batches(0, 2))[0], opened.kind, opened.answers)
    sample = task_sample(model, task, examples=examples, seed=seed, source=opened.describe().name)
    resolved = {init: opened.resolved(initializer) for init, initializer in requested.items()}
    return model.architecture, model.graph, sample, resolved, tuple(model.notes)


def filled(
    architecture: Architecture,
    graph: Graph,
    sample: Sample,
    *,
    requested: Mapping[str, Initializer],
    folders: Mapping[str, nn.Module],
    notes: Sequence[str],
) -> NetworkToDiagnose:
    """Let every initializer say what it fills, and compare every folder's tensors with the network's."""
    columns: dict[str, Weights] = {}
    held, said = set(folders), list(notes)
    for init, initializer in requested.items():
        prediction = prediction_of(architecture, graph, initializer, init=init, seed=0, dtype=None)
        if prediction.choice is not None:
            said.append(f"{prediction.explanation}.")
        if set(prediction.rules.values()) <= {KEPT}:
            held.add(init)
        columns[init] = _of_seed(prediction.resolved.tensors, architecture, graph)
    for column, module in folders.items():
        state = _fitting(architecture, state_of(module), column)
        columns[column] = lambda seed, state=state: state  # type: ignore[misc]
    return NetworkToDiagnose(
        architecture=architecture,
        graph=graph,
        sample=sample,
        columns=columns,
        held=frozenset(held),
        notes=tuple(dict.fromkeys(said)),
    )


def _of_seed(tensors: Any, architecture: Architecture, graph: Graph) -> Weights:
    @torch.no_grad()
    def weights(seed: int) -> Mapping[str, Tensor]:
        return dict(tensors(architecture, graph, seed=seed))

    return weights


def _fitting(architecture: Architecture, state: Mapping[str, Tensor], column: str) -> dict[str, Tensor]:
    """Return a folder's tensors for every slot that is filled.

    Raises:
        OptionError: One is missing, or has another shape.
    """
    found = {}
    for slot in architecture.manifest.filled:
        tensor = state.get(slot.name)
        if tensor is None or tuple(tensor.shape) != tuple(slot.shape):
            has = "none" if tensor is None else f"one of shape {tuple(tensor.shape)}"
            raise OptionError(
                f"{column.removeprefix('folder:')} has {has} for {slot.name!r} of {architecture.spec}, whose shape is "
                f"{tuple(slot.shape)}. Leave --arch out: the folder says what network it is of"
            )
        found[slot.name] = tensor.to(slot.dtype)
    return found


def _recorded_example(folder: Path) -> Inputs | None:
    """Return the example input that was typed when the folder was written, where there was one."""
    typed = (read_report(folder).get("requested") or {}).get("example_input")
    return parse_example_input(typed) if isinstance(typed, str) and typed else None
