"""Write a prediction into a folder: planned, streamed, checked by its library, and only then given its name."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, final

from paramgen.errors import CheckError
from paramgen.hub.pushed import Pushed
from paramgen.modelcard.card import card_text
from paramgen.modelcard.notebook import table
from paramgen.output.constraints import constraint_record, write_constraint
from paramgen.output.planning import FolderPlan, entries_of
from paramgen.output.stream import stream
from paramgen.output.verify import Checked, verify_folder
from paramgen.prediction import Prediction
from paramgen.prediction.progress import Progress
from paramgen.prediction.summary import Summary
from paramgen.storage.folder import checked_target, transaction
from paramgen.storage.packed import pack
from paramgen.storage.record import REPORT
from paramgen.storage.seal import CARD
from paramgen.storage.unaltered import digests_of
from paramgen.storage.writer import SafetensorsWriter


@final
@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written, how long it took (`seconds` by stage), and where it was pushed, if it was.

    Args:
        folder: Where it was written; where it is not kept, it is gone.
        prediction: What was computed.
        files: Every file with its size in bytes.
        seconds: Of the stages `build` (where the architecture was built for it), `predict` and `check`.
        checked: What loading it with its library gave; None where it was not checked.
        pushed: What is on the Hub; None where it was not pushed.
        kept: Whether the folder stays.

    """

    folder: Path
    prediction: Prediction
    files: Mapping[str, int]
    seconds: Mapping[str, float]
    checked: Checked | None
    pushed: Pushed | None = None
    kept: bool = True

    def __repr__(self) -> str:
        size, checked = sum(self.files.values()), self.checked
        loaded = "not checked" if checked is None else f"loaded by {checked.loaded_by or 'its owner'}"
        return f"Written({str(self.folder)!r}, {len(self.files)} files, {size:,} bytes, {loaded}, {self.prediction!r})"

    def _repr_html_(self) -> str:
        return table(repr(self), ("file", "bytes"), list(self.files.items())[:12])

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        published = None if self.checked is None else self.checked.published
        return {
            **Summary(prediction=self.prediction).to_json(),
            "files": dict(self.files),
            "folder": str(self.folder) if self.kept else None,
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
            "checked": self.checked is not None,
            "loaded_by": None if self.checked is None else self.checked.loaded_by,
            **({} if published is None else {"published": published.to_json()}),
            **({} if self.pushed is None else {"pushed": self.pushed.to_json()}),
        }


def write_prediction(
    plan: FolderPlan,
    folder: Path,
    *,
    target: Path | None = None,
    overwrite: bool = False,
    verify: bool = False,
    progress: Progress | None = None,
    repo: str | None = None,
    accept: Callable[[Mapping[str, Any]], None] | None = None,
) -> Written:
    """Write the folder beside its place, check it there, and give it its name last.

    Args:
        plan: What is written.
        folder: Where, as the user typed it.
        target: What `checked_target` returned for the folder, where it was called before.
        overwrite: Replace a folder that paramgen wrote.
        verify: Load the folder with its library before it appears under its name.
        progress: Called with the stage, the elements done and all elements.
        repo: The Hub's repository that it goes to, if it does: the card says how to load it from there.
        accept: Called with the record once all tensors are made; what it raises leaves no folder.

    """
    prediction, files = plan.prediction, plan.files
    real = checked_target(folder, overwrite=overwrite) if target is None else target
    started = perf_counter()
    with transaction(real, overwrite=overwrite, checked=True) as partial:
        tensors = _fill(plan, partial, progress)
        files.update({path.name: path.stat().st_size for path in partial.iterdir() if path.name not in files})
        companions = [list(words) for words in plan.companions]
        record = {
            **Summary(prediction=prediction).record(max_shard=plan.max_shard, companion_files=companions),
            "files": files,
            "digests": digests_of(partial, but=plan.weights.files),
            **constraint_record(prediction.initializer.constraint()),
            "tensors": {entry.name: tensors[entry.name] for entry in entries_of(prediction)},
        }
        if accept is not None:
            accept(record)
        (partial / REPORT).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        name = Path(os.path.abspath(folder)).name
        card = card_text(record, prediction.architecture.layout.config, name, repo=repo)
        (partial / CARD).write_text(card, encoding="utf-8")
        predicted = perf_counter()
        checked = _verified(partial, folder, progress) if verify else None
        if prediction.rounding is not None:
            pack(partial, plan.packed_names, prediction.rounding.quantization)
            files = {path.name: path.stat().st_size for path in partial.iterdir() if path.is_file()}
    return Written(
        folder=folder,
        prediction=prediction,
        files={**files, **{name: (folder / name).stat().st_size for name in (REPORT, CARD)}},
        seconds={"predict": predicted - started, "check": perf_counter() - predicted},
        checked=checked,
    )


def _fill(plan: FolderPlan, partial: Path, progress: Progress | None) -> dict[str, Any]:
    """Write the weights and what stands beside them; return the record of each tensor."""
    elements = plan.prediction.architecture.manifest.elements
    advance = None if progress is None else lambda stage, done: progress(stage, done, elements)
    with SafetensorsWriter(plan.weights, partial) as writer:
        tensors = stream(plan.prediction, writer, advance)
    write_constraint(plan.prediction.initializer.constraint(), partial)
    for name, text in plan.texts.items():
        (partial / name).write_text(text, encoding="utf-8")
    for each in plan.companions.values():
        each.save_pretrained(partial)
    return tensors


def _verified(partial: Path, folder: Path, progress: Progress | None) -> Checked:
    """Check the folder under its temporary name; whatever is wrong with it is said of the name that was requested."""
    if progress is not None:
        progress("check", 0, 0)
    try:
        return replace(verify_folder(partial), folder=folder)
    except CheckError as error:
        raise CheckError(error.message.replace(str(partial), str(folder))) from error
