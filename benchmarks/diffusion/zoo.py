"""Statistics of a translation zoo: how good its checkpoints are, and how new its test tasks.

    python -m benchmarks.diffusion.zoo ZOO

The novelty of a test task is measured by its effect, too: how far its edits of pictures are from those of the nearest
training task. Checkpoints from several seeds show how far two runs of one task are apart.
"""

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any, Final

import torch
import typer
from torch import Tensor

from benchmarks.provenance import provenance
from checkpoints.pictures import edited, scene, tensor
from checkpoints.tasks import EditTask
from checkpoints.train import read_edit_tasks
from paramgen.zoo import Row, Zoo

ROOT: Final = Path(__file__).parents[2]
SCENES: Final = 16


def measured(folder: Path) -> dict[str, Any]:
    """Return all figures of a zoo."""
    zoo = Zoo.open(folder)
    last = max(row.steps for row in zoo.rows)
    updates = {row.id: _flat(tensors) for row, tensors in zoo.states() if row.steps == last}
    first = [row for row in zoo.rows if row.seed == 0]
    return {
        "parameters": sum(each.numel() for each in zoo.base_state.values()),
        "numbers": len(next(iter(updates.values()))),
        "checkpoints": len(zoo.rows),
        "tasks": {split: len({row.task for row in first if row.split == split}) for split in ("train", "validation")},
        "distances": {str(steps): _figures([row for row in first if row.steps == steps]) for steps in _steps(zoo)},
        "runs": _apart(zoo, updates, last),
        "tests": _novelty(read_edit_tasks(folder), {row.task for row in first}),
    }


def _steps(zoo: Zoo) -> list[int]:
    return sorted({row.steps for row in zoo.rows})


def _figures(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    values = {name: [row.metrics[name] for row in rows] for name in ("distance", "base", "identity")}
    return {name: {"mean": round(mean(each), 4), "median": round(median(each), 4)} for name, each in values.items()}


def _flat(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([each.flatten() for _, each in sorted(tensors.items())])


def _apart(zoo: Zoo, updates: dict[str, Tensor], steps: int) -> dict[str, float]:
    """Return median distances, as vectors, between runs of one task, and between tasks."""
    rows = [row for row in zoo.rows if row.steps == steps]
    tasks = sorted({row.task for row in rows if row.seed})
    own = [[updates[row.id] for row in rows if row.task == task] for task in tasks]
    same = [float((one - other).norm()) for runs in own for one, other in combinations(runs, 2)]
    different = [float((one[0] - other[0]).norm()) for one, other in combinations(own, 2)]
    return {"tasks": len(tasks), "same": round(median(same), 3), "different": round(median(different), 3)}


def _novelty(tasks: Sequence[EditTask], known: set[str]) -> list[dict[str, Any]]:
    """Return how far each test task's effect is from the nearest training task's, of 0 to 255."""
    scenes = torch.stack([tensor(scene(number)) for number in range(SCENES)])
    trained = {task.id: task for task in tasks if task.split == "train" and task.id in known}
    effects = torch.stack([edited(task, scenes).float() for task in trained.values()])
    found = []
    for task in tasks:
        if task.split == "test":
            apart = (effects - edited(task, scenes).float()).abs().flatten(1).mean(1)
            nearest = list(trained)[int(apart.argmin())]
            row: dict[str, Any] = {"id": task.id, "novelty": task.novelty, "text": task.texts[0]}
            found.append(row | {"nearest": nearest, "apart": round(float(apart.min()), 2)})
    return found


def main(
    zoo: Annotated[Path, typer.Argument(help="A zoo that train-zoo wrote.")],
    name: Annotated[str, typer.Option(help="The result is cards/results/NAME.json.")],
) -> None:
    """Measure a zoo and keep the figures."""
    result: dict[str, Any] = {"result": name, "command": f"python -m benchmarks.diffusion.zoo ZOO --name {name}"}
    result |= {"provenance": provenance(), **measured(zoo)}
    path = ROOT / "cards" / "results" / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{path}: {result['checkpoints']:,} checkpoints")


if __name__ == "__main__":
    typer.run(main)
