"""Check the hash of every checkpoint of a zoo, and evaluate some of them again on the same held-out pictures."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

import torch

from checkpoints.recipe import BaseTraining, ZooRecipe
from checkpoints.task_sets import task_set_of
from checkpoints.train import MAX_TASKS_BYTES, RUN
from paramgen.errors import OptionError, ZooError
from paramgen.storage.json_file import read_json_object
from paramgen.zoo import Row, Skipped, Zoo

TOLERANCE: Final = 2e-3
"""Largest allowed difference of a metric between two processors, which round differently."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a check found: whole and skipped checkpoints, and those whose metric differs when it is measured again."""

    whole: int
    skipped: list[Skipped]
    measured: int = 0
    worst: float = 0.0
    different: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what --json prints."""
        return asdict(self)


def verify(folder: Path, *, data: str | None, samples: int, report: Callable[[str, int, int], None]) -> Verified:
    """Read all checkpoints; with `data`, measure `samples` of them again."""
    zoo = Zoo.open(folder)
    whole: list[Row] = []
    for row, _ in zoo.states():
        whole.append(row)
        if len(whole) % 100 == 0:
            report("reading", len(whole), len(zoo.rows))
    if data is None or not samples:
        return Verified(whole=len(whole), skipped=zoo.skipped)
    chosen = random.Random(0).sample(whole, min(samples, len(whole)))
    found = _measured_again(zoo, chosen, data, report)
    return Verified(
        whole=len(whole),
        skipped=zoo.skipped,
        measured=len(found),
        worst=max(found.values(), default=0.0),
        different=tuple(sorted(name for name, difference in found.items() if difference > TOLERANCE)),
    )


def _measured_again(zoo: Zoo, rows: list[Row], data: str, report: Callable[[str, int, int], None]) -> dict[str, float]:
    """Return, for each checkpoint, how far its first metric is from the one in the table."""
    try:
        run = read_json_object(zoo.folder / RUN, most=MAX_TASKS_BYTES, error=ZooError)
        settings, pictures = run["settings"], run["pictures"]
        recipe = ZooRecipe(
            **settings | {"base": BaseTraining(**settings["base"]), "snapshots": tuple(settings["snapshots"])}
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ZooError(f"{zoo.folder / RUN} does not say what the zoo was made of. Leave out --data.") from error
    task_set = task_set_of(recipe, data)
    if hashlib.sha256(task_set.pictures.numpy().tobytes()).hexdigest() != pictures:
        raise OptionError(f"--data {data} has other pictures than those that {zoo.folder} was trained on.")
    own = {task.id: task for task in task_set.tasks()}
    module = task_set.network.initialized(recipe.seed)
    found = {}
    for done, row in enumerate(rows):
        report("measuring", done, len(rows))
        examples = task_set.examples([own[row.task]])
        inputs, targets = examples.at(torch.arange(task_set.train_count, examples.count))
        with torch.no_grad():
            outputs = examples.outputs(module, zoo.restore(row.id), inputs[0] if inputs.ndim == 5 else inputs)
        name, values = next(iter(examples.metrics(outputs[None], targets).items()))
        found[row.id] = abs(float(values.mean()) - row.metrics[name])
    return found
