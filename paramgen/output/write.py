"""Carry a prediction out: into a folder, or into a live module."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any, Final, final

import torch
from torch import nn

from paramgen.architectures.lazy import with_shapes
from paramgen.architectures.memory import give_memory
from paramgen.architectures.processors import Companions, companions
from paramgen.architectures.recorder import built_on
from paramgen.errors import CheckError, OptionError
from paramgen.graphs.analysis.model_family import family_of
from paramgen.graphs.graph_json import graph_hash
from paramgen.initializers.auto import measured_on
from paramgen.initializers.library import KEPT
from paramgen.modelcard.card import card_text
from paramgen.modelcard.notebook import table
from paramgen.output.stream import Advance, statistics_of, stream
from paramgen.output.verify import REPORT, Checked, verify_folder
from paramgen.prediction import Prediction
from paramgen.slots.determinism import seeded_randomness
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import state_of
from paramgen.storage.folder import checked_target, transaction
from paramgen.storage.plan import Entry, Plan, plan
from paramgen.storage.seal import CARD
from paramgen.storage.unaltered import digests_of
from paramgen.storage.writer import SafetensorsWriter

CONFIG: Final = "config.json"
_TRIED: Final = 1 << 23  # elements of a slot that is tried for an estimate, if there is one


@final
@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written, and how long it took (`seconds` by stage)."""

    folder: Path
    prediction: Prediction
    files: Mapping[str, int]
    seconds: Mapping[str, float]
    checked: Checked | None

    def __repr__(self) -> str:
        size, checked = sum(self.files.values()), self.checked
        loaded = "not checked" if checked is None else f"loaded by {checked.loaded_by or 'its owner'}"
        return f"Written({str(self.folder)!r}, {len(self.files)} files, {size:,} bytes, {loaded}, {self.prediction!r})"

    def _repr_html_(self) -> str:
        return table(repr(self), ("file", "bytes"), list(self.files.items())[:12])

    def to_json(self) -> dict[str, Any]:
        """Return the summary that `--json` prints."""
        published = None if self.checked is None else self.checked.published
        return {
            **describe_prediction(self.prediction, self.files),
            "folder": str(self.folder),
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
            "checked": self.checked is not None,
            "loaded_by": None if self.checked is None else self.checked.loaded_by,
            **({} if published is None else {"published": published.to_json()}),
        }


def describe_prediction(prediction: Prediction, files: Mapping[str, int]) -> dict[str, Any]:
    """Return what is known before the first tensor is made."""
    manifest = prediction.architecture.manifest
    return {
        "spec": prediction.architecture.spec,
        "init": prediction.init,
        **prediction.chosen,
        **({"next_step": prediction.next_step} if prediction.next_step else {}),
        **({"remarks": remarks} if (remarks := list(prediction.remarks)) else {}),
        "seed": prediction.seed,
        "parameters": manifest.parameters,
        "elements": manifest.elements,
        "by_rule": prediction.by_rule,
        "tensors_by_rule": prediction.tensors_by_rule,
        "traced_by": prediction.graph.traced_by,
        "trace_failures": list(prediction.graph.failures),
        "nodes": len(prediction.graph),
        "unreachable": prediction.graph.unreachable(),
        "files": dict(files),
    }


def plan_files(prediction: Prediction, max_shard: int | str) -> Plan:
    """Plan the weights files of a prediction."""
    layout = prediction.architecture.layout
    return plan(
        entries_of(prediction),
        weights_file=layout.weights_file,
        max_shard=max_shard,
        shardable=layout.shardable,
    )


def planned_files(prediction: Prediction, planned: Plan) -> dict[str, int]:
    """Return every file of the folder that its library reads, but what is copied into it, with its size in bytes."""
    return {**planned.files, **{name: len(text.encode()) for name, text in _texts(prediction).items()}}


def companions_of(prediction: Prediction, *, tokenizer: str | None, image_processor: str | None) -> Companions:
    """Return what is to be saved beside the weights: what was asked for, or else what the start brings with it."""
    brought = prediction.initializer.brought.get("tokenizer")
    return companions(prediction.architecture.layout, tokenizer=tokenizer or brought, image_processor=image_processor)


def described_plan(prediction: Prediction, planned: Plan) -> dict[str, Any]:
    """Return what a prediction would write, and about how long that would take where it can be said."""
    seconds = estimated_seconds(prediction)
    timed = {} if seconds is None else {"estimated_seconds": float(f"{seconds:.2g}")}
    return describe_prediction(prediction, planned_files(prediction, planned)) | timed


def estimated_seconds(prediction: Prediction) -> float | None:
    """Return about how long it takes to draw, hash and write everything, from one slot for each rule.

    What is drawn is hashed while the next is drawn, so the slower of the two counts. None where a start makes
    everything together, of which no part can be tried alone.
    """
    if not prediction.start.slot_by_slot:
        return None
    filled = prediction.architecture.manifest.filled
    drawing = finishing = 0.0
    for rule, elements in prediction.by_rule.items():
        slots = (slot for slot in filled if prediction.rules[slot.name] == rule and slot.elements)
        tried = min(slots, key=lambda slot: abs(slot.elements - _TRIED), default=None)
        if tried is None:
            continue
        part, share = prediction.only([tried.name]), elements / tried.elements
        for _ in range(2):  # the first time, libraries still warm up
            begun = perf_counter()
            ((_, tensor),) = part
            drawn = perf_counter()
            statistics_of(tensor)
            ended = perf_counter()
        drawing += share * (drawn - begun)
        finishing += share * (ended - drawn)
    return max(drawing, finishing)


def entries_of(prediction: Prediction) -> Iterator[Entry]:
    """Yield what the library wants stored: every name, or every tensor once."""
    manifest = prediction.architecture.manifest
    for slot in manifest.values():
        if slot.tied_to is None or prediction.architecture.layout.tied == "each":
            yield Entry(slot.name, slot.shape, prediction.dtype_of(slot))


def write_prediction(
    prediction: Prediction,
    folder: Path,
    *,
    max_shard: int | str,
    overwrite: bool,
    verify: bool,
    progress: Advance | None = None,
    copied: Companions | None = None,
    repo: str | None = None,
) -> Written:
    """Write the folder beside its place, check it there, and give it its name last.

    What is `copied` saves itself beside the weights. The card says how to load it from `repo`, if it goes there.
    """
    copied = copied or {}
    checked_target(folder, overwrite=overwrite)
    planned = plan_files(prediction, max_shard)
    files = planned_files(prediction, planned)
    started = perf_counter()
    with transaction(folder, overwrite=overwrite) as partial:
        with SafetensorsWriter(planned, partial) as writer:
            tensors = stream(prediction, writer, progress)
        for name, text in _texts(prediction).items():
            (partial / name).write_text(text, encoding="utf-8")
        for each in copied.values():
            each.save_pretrained(partial)
        files.update({path.name: path.stat().st_size for path in partial.iterdir() if path.name not in files})
        report = {
            **_provenance(prediction, max_shard, copied),
            "files": files,
            "digests": digests_of(partial, but=planned.files),
            "tensors": {entry.name: tensors[entry.name] for entry in entries_of(prediction)},
        }
        (partial / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        name = Path(os.path.abspath(folder)).name
        card = card_text(report, prediction.architecture.layout.config, name, repo=repo)
        (partial / CARD).write_text(card, encoding="utf-8")
        predicted = perf_counter()
        checked = _verified(partial, folder, progress) if verify else None
    return Written(
        folder=folder,
        prediction=prediction,
        files={**files, **{name: (folder / name).stat().st_size for name in (REPORT, CARD)}},
        seconds={"predict": predicted - started, "check": perf_counter() - predicted},
        checked=checked,
    )


@final
class Filled(dict[str, str]):
    """The rule of each slot of a module that was filled, and which initializer was chosen for it."""

    def __init__(self, prediction: Prediction) -> None:
        super().__init__(prediction.rules)
        self.chosen: Mapping[str, str] = prediction.chosen
        self._said = repr(prediction)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} by {rule}" for rule, count in Counter(self.values()).most_common())
        return f"Filled({counts}; {self._said})"


def created(prediction: Prediction, progress: bool | None = None) -> nn.Module:
    """Return the network itself, built by its library's constructor, filled, and in the mode that this leaves it in."""
    architecture = prediction.architecture
    if architecture.construct is None:
        raise OptionError(
            f"{architecture.spec} cannot be built here: a graph's JSON is no network, and a live module is there "
            "already: paramgen.initialize_(module). Type: --arch vit_b16, or file.py:factory"
        )
    with seeded_randomness():
        module = built_on(torch.device("cpu"), architecture.construct)
    if prediction.dtype is not None:
        _cast(module, prediction)
    fill(module, prediction, progress)
    return module


def _cast(module: nn.Module, prediction: Prediction) -> None:
    """Give the state dict's floating-point tensors their dtype, as loading a folder does: other buffers keep theirs."""
    dtype, layout = prediction.dtype, prediction.architecture.layout
    assert dtype is not None
    saved = state_of(module)
    unsaved = {id(buffer) for name, buffer in module.named_buffers() if name not in saved}

    def cast(tensor: torch.Tensor) -> torch.Tensor:  # `to` would cast complex tensors, too, and a library's own warns
        return tensor.to(dtype) if tensor.is_floating_point() and id(tensor) not in unsaved else tensor

    module._apply(cast)
    if layout.dtype_key is not None and hasattr(module, "config"):
        module.config.dtype = dtype


@torch.no_grad()
def fill(module: nn.Module, prediction: Prediction, progress: bool | None = False) -> Filled:
    """Copy a prediction into a live module and return the rule of each slot. What is `kept` is not touched.

    Lazy layers get their shapes from the example input, and what is on the meta device gets memory.
    """
    manifest, rules = prediction.architecture.manifest, dict(prediction.rules)
    unsaved = {name: buffer for name, buffer in module.named_buffers() if name not in manifest and buffer.is_meta}
    if unknown := sorted(unsaved.keys() - manifest.unsaved.keys()):
        raise OptionError(
            f"What is in {unknown[0]!r}, which is on the meta device and in no state dict, only its constructor knows. "
            "Build the module on the CPU"
        )
    with_shapes(module, prediction.architecture.example)
    give_memory(module)
    state, buffers = state_of(module), dict(module.named_buffers())
    filled = prediction.only([slot.name for slot in manifest.filled if rules[slot.name] != KEPT])
    for name, tensor in filled.advancing(progress):
        state[name].detach().copy_(tensor)
    for name in unsaved:
        buffers[name].copy_(manifest.unsaved[name](slot_generator(prediction.seed, name)))
    return Filled(prediction)


def _verified(partial: Path, folder: Path, progress: Advance | None) -> Checked:
    """Check the folder under its temporary name; whatever is wrong with it is said of the name that was asked for."""
    if progress is not None:
        progress("check", 0)
    try:
        return replace(verify_folder(partial), folder=folder)
    except CheckError as error:
        raise CheckError(error.message.replace(str(partial), str(folder))) from error


def _texts(prediction: Prediction) -> dict[str, str]:
    """Return name and content of each file beside the weights that the layout asks for."""
    return {CONFIG: _config(prediction), **prediction.architecture.layout.files}


def _config(prediction: Prediction) -> str:
    layout = prediction.architecture.layout
    config = dict(layout.config)
    if layout.dtype_key is not None:
        floating = (slot for slot in prediction.architecture.manifest.filled if slot.dtype.is_floating_point)
        config[layout.dtype_key] = str(prediction.dtype_of(next(floating))).removeprefix("torch.")
    return json.dumps(config, indent=2) + "\n"


def _versions(*libraries: str) -> Iterator[tuple[str, str]]:
    for library in libraries:
        with suppress(PackageNotFoundError):  # `module`, or a source that is not called like its package
            yield library, version(library)


def _provenance(prediction: Prediction, max_shard: int | str, copied: Companions) -> dict[str, Any]:
    manifest = prediction.architecture.manifest
    source = prediction.architecture.layout.source
    described, family = dict(prediction.initializer.describe()), family_of(prediction.graph)
    return {
        "paramgen": version("paramgen"),
        "versions": dict(_versions("torch", source)),
        "source": source,
        "spec": prediction.architecture.spec,
        "asked": {**prediction.asked.to_json(), "max_shard": max_shard, "copied": [list(words) for words in copied]},
        "graph": {
            "sha256": graph_hash(prediction.graph),
            "nodes": len(prediction.graph),
            "traced_by": prediction.graph.traced_by,
            "trace_failures": list(prediction.graph.failures),
            "unreachable": prediction.graph.unreachable(),
        },
        "init": prediction.init,
        "initializer": described,
        "family": family,
        "measured": measured_on(described, family),
        "inherited": dict(prediction.initializer.inherited()),
        **({"remarks": remarks} if (remarks := list(prediction.remarks)) else {}),
        "seed": prediction.seed,
        "dtype": None if prediction.dtype is None else str(prediction.dtype).removeprefix("torch."),
        "parameters": manifest.parameters,
        "elements": manifest.elements,
        "by_rule": prediction.by_rule,
        "tensors_by_rule": prediction.tensors_by_rule,
        "tied": {slot.name: slot.tied_to for slot in manifest.values() if slot.tied_to is not None},
    }
