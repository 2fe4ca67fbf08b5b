"""Contact sheets: what networks make of test tasks from a random, the base and a predicted initialization."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from checkpoints.ensemble import Ensemble, Pairs, scaled
from checkpoints.generator import generator
from checkpoints.pictures import edited, pictures
from checkpoints.recipe import BaseTraining, ZooRecipe
from checkpoints.sheet import SheetRow, sheet
from checkpoints.tasks import EditTask
from checkpoints.train import read_edit_tasks
from checkpoints.writing import write_bytes
from paramgen.api import predict
from paramgen.errors import OptionError, ZooError
from paramgen.storage.reading import stored
from paramgen.zoo import Zoo

SCRATCH: Final = "from scratch"
BASE: Final = "base checkpoint"
PREDICTED: Final = "predicted"
_TRAIN, _HELD_OUT = 256, 32


def contact_sheet(
    folder: Path,
    predicted: Path | None,
    out: Path,
    *,
    data: str,
    count: int,
    steps: int,
    report: Callable[[str, int, int], None],
) -> dict[str, dict[str, float]]:
    """Train `count` test tasks for `steps` from each initialization, draw the sheet, and return the mean distances.

    `predicted` is a pipeline, which gets the first phrasing of each task, or a folder with a subfolder for each task,
    named by its id, with the weights in safetensors.
    """
    zoo = Zoo.open(folder)
    chosen = [task for task in read_edit_tasks(folder) if task.split == "test"][:count]
    if not chosen:
        raise ZooError(f"{str(folder)!r} has no test tasks.")
    given = pictures(data, _TRAIN + _HELD_OUT)
    pairs = Pairs(inputs=given, targets=torch.stack([edited(task, given) for task in chosen]))
    initializations = {SCRATCH: [dict(generator(1).state_dict())] * len(chosen), BASE: [zoo.base_state] * len(chosen)}
    if predicted is not None:
        initializations[PREDICTED] = [_predicted(predicted, task, zoo.base_state) for task in chosen]
    shown: dict[str, Tensor] = {}
    distances: dict[str, dict[str, float]] = {}
    for index, (name, states) in enumerate(initializations.items()):
        report(name, index, len(initializations))
        ensemble = _ensemble(states, pairs, steps)
        with torch.no_grad():
            before, first = ensemble.outputs(scaled(given[-_HELD_OUT:])), ensemble.distance(_TRAIN)
        last = next(iter(ensemble.run(_TRAIN, seed=0)))
        with torch.no_grad():
            shown |= {f"{name}, step 0": before, f"{name}, step {steps}": ensemble.outputs(scaled(given[-_HELD_OUT:]))}
        distances[name] = {"0": float(first.mean()), str(steps): float(last.distance.mean())}
    _draw(out, chosen, pairs, {name: each for name, each in shown.items() if name != f"{SCRATCH}, step 0"})
    return distances


def _ensemble(states: Sequence[Mapping[str, Tensor]], pairs: Pairs, steps: int) -> Ensemble:
    """Return networks whose weights are all trained, each from its own state."""
    recipe = ZooRecipe(train=1, validation=0, test=0, base=BaseTraining(), form="full", snapshots=(steps,), batch=4)
    own = {name: torch.stack([state[name] for state in states]).clone().requires_grad_() for name in states[0]}
    return Ensemble(generator(), dict(states[0]), own, pairs, replace(recipe, pictures=_TRAIN, held_out=_HELD_OUT))


def _predicted(source: Path, task: EditTask, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if (source / "model_index.json").is_file():
        prediction = predict(init=f"diffusion:{source}", prompt=task.texts[0])
        found = {name: tensor.float() for name, tensor in prediction.state_dict().items()}
    else:
        found = {entry.name: entry.tensor().float() for entry in stored(source / task.id)}
    if {name: each.shape for name, each in found.items()} != {name: each.shape for name, each in like.items()}:
        raise OptionError(
            f"{str(source)!r} predicts {task.id} in another architecture than the zoo's. Train it on this zoo."
        )
    return found


def _draw(out: Path, chosen: Sequence[EditTask], pairs: Pairs, shown: Mapping[str, Tensor]) -> None:
    from io import BytesIO

    lines = []
    for number, task in enumerate(chosen):
        index = number % _HELD_OUT
        cells = {
            "input": scaled(pairs.inputs[-_HELD_OUT:][index]),
            "target": scaled(pairs.targets[number, -_HELD_OUT:][index]),
        }
        cells |= {name: each[number, index] for name, each in shown.items()}
        lines.append(SheetRow(text=task.texts[0], cells=cells))
    content = BytesIO()
    sheet(lines, list(lines[0].cells)).save(content, format="PNG")
    write_bytes(out, content.getvalue())
