"""Every file of a folder, planned before the first tensor is computed, and about how long the tensors will take."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final, final

from paramgen.architectures.processors import Companions, companions
from paramgen.output.stream import statistics_of
from paramgen.prediction import Prediction
from paramgen.prediction.rounding import rounded_names
from paramgen.prediction.summary import Summary
from paramgen.storage.packed import packed_plan
from paramgen.storage.plan import Entry, Plan, plan

CONFIG: Final = "config.json"
MAX_SHARD: Final = "5GB"
_TRIED: Final = 1 << 23  # elements of a slot that is tried for an estimate, if there is one


@final
@dataclass(frozen=True, kw_only=True)
class FolderPlan:
    """The weights files of a prediction with all offsets, the texts beside them, and what is saved with them."""

    prediction: Prediction
    weights: Plan
    max_shard: int | str = MAX_SHARD
    companions: Companions = field(default_factory=dict)

    @property
    def texts(self) -> dict[str, str]:
        """Name and content of each file beside the weights that the library reads."""
        return {CONFIG: _config(self.prediction), **self.prediction.architecture.layout.files}

    @property
    def files(self) -> dict[str, int]:
        """Every file that the library reads, but the companions, with its size in bytes."""
        return {**self.weights.files, **{name: len(text.encode()) for name, text in self.texts.items()}}

    @property
    def packed(self) -> Plan | None:
        """The file that holds the weights in few bits, where they are rounded to that."""
        if self.prediction.rounding is None:
            return None
        entries = list(entries_of(self.prediction))
        return packed_plan(entries, self.packed_names, self.prediction.rounding.quantization)

    @property
    def packed_names(self) -> frozenset[str]:
        """The names of the tensors that are stored in few bits."""
        prediction = self.prediction
        return frozenset(rounded_names(prediction.architecture.manifest, prediction.dtype_of))


@final
@dataclass(frozen=True, kw_only=True)
class Planned:
    """What would be written, and about how long that would take: what a dry run returns.

    Args:
        prediction: What would be computed.
        files: Every file with its size in bytes, but the record, the card and the companions.
        seconds: None where an initializer makes everything together, of which no part can be tried alone.

    """

    prediction: Prediction
    files: Mapping[str, int]
    seconds: float | None

    def __repr__(self) -> str:
        time = "" if self.seconds is None else f", about {self.seconds:.2g} s"
        return f"Planned({len(self.files)} files, {sum(self.files.values()):,} bytes{time}, {self.prediction!r})"

    def to_json(self) -> dict[str, Any]:
        """Return what `--dry-run --json` prints."""
        timed = {} if self.seconds is None else {"estimated_seconds": float(f"{self.seconds:.2g}")}
        return {**Summary(prediction=self.prediction).to_json(), "files": dict(self.files), **timed}


def plan_files(prediction: Prediction, max_shard: int | str = MAX_SHARD) -> Plan:
    """Plan the weights files of a prediction."""
    layout = prediction.architecture.layout
    return plan(
        entries_of(prediction),
        weights_file=layout.weights_file,
        max_shard=max_shard,
        shardable=layout.shardable,
    )


def plan_folder(
    prediction: Prediction,
    *,
    max_shard: int | str = MAX_SHARD,
    tokenizer: str | None = None,
    image_processor: str | None = None,
) -> FolderPlan:
    """Plan a folder, and read what is copied into it: what is requested, or else what the initializer brings."""
    own = prediction.initializer.companion_files.get("tokenizer")
    layout = prediction.architecture.layout
    beside = companions(layout, tokenizer=tokenizer or own, image_processor=image_processor)
    weights = plan_files(prediction, max_shard)
    return FolderPlan(prediction=prediction, weights=weights, max_shard=max_shard, companions=beside)


def entries_of(prediction: Prediction) -> Iterator[Entry]:
    """Yield what the library wants stored: every name, or every tensor once."""
    manifest = prediction.architecture.manifest
    for slot in manifest.values():
        if slot.tied_to is None or prediction.architecture.layout.tied == "each":
            yield Entry(slot.name, slot.shape, prediction.dtype_of(slot))


def planned(folder: FolderPlan) -> Planned:
    """Return what a dry run says of a plan."""
    prediction, packed = folder.prediction, folder.packed
    but = {} if packed is None else folder.weights.files
    files = {name: size for name, size in folder.files.items() if name not in but}
    files |= {} if packed is None else packed.files
    return Planned(prediction=prediction, files=files, seconds=estimated_seconds(prediction))


def estimated_seconds(prediction: Prediction) -> float | None:
    """Return about how long it takes to draw, hash and write everything, from one slot for each rule.

    What is drawn is hashed while the next is drawn, so the slower of the two counts. None where an initializer makes
    everything together, of which no part can be tried alone.
    """
    if not prediction.resolved.slot_by_slot:
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


def _config(prediction: Prediction) -> str:
    layout = prediction.architecture.layout
    config = dict(layout.config)
    if layout.dtype_key is not None:
        floating = (slot for slot in prediction.architecture.manifest.filled if slot.dtype.is_floating_point)
        config[layout.dtype_key] = str(prediction.dtype_of(next(floating))).removeprefix("torch.")
    return json.dumps(config, indent=2) + "\n"
