"""What a translation zoo holds: how good its checkpoints are, how new its tests.

    python -m benchmarks.diffusion.zoo ZOO

A test concept's novelty is told by its effect, too: how far what it makes of pictures is from what the nearest training
concept makes of them. Checkpoints from several seeds tell how far two runs of one concept are apart.
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
from checkpoints.concepts import Concept
from checkpoints.pictures import edited, scene, tensor
from checkpoints.train import read_concepts
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
        "parameters": sum(each.numel() for each in zoo.start.values()),
        "numbers": len(next(iter(updates.values()))),
        "checkpoints": len(zoo.rows),
        "concepts": {
            split: len({row.task for row in first if row.split == split}) for split in ("train", "validation")
        },
        "distances": {str(steps): _figures([row for row in first if row.steps == steps]) for steps in _steps(zoo)},
        "runs": _apart(zoo, updates, last),
        "tests": _novelty(read_concepts(folder), {row.task for row in first}),
    }


def _steps(zoo: Zoo) -> list[int]:
    return sorted({row.steps for row in zoo.rows})


def _figures(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    values = {name: [row.metrics[name] for row in rows] for name in ("distance", "start", "nothing")}
    return {name: {"mean": round(mean(each), 4), "median": round(median(each), 4)} for name, each in values.items()}


def _flat(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([each.flatten() for _, each in sorted(tensors.items())])


def _apart(zoo: Zoo, updates: dict[str, Tensor], steps: int) -> dict[str, float]:
    """Return median distances, as vectors, between runs of one concept, and between concepts."""
    rows = [row for row in zoo.rows if row.steps == steps]
    tasks = sorted({row.task for row in rows if row.seed})
    own = [[updates[row.id] for row in rows if row.task == task] for task in tasks]
    same = [float((one - other).norm()) for runs in own for one, other in combinations(runs, 2)]
    different = [float((one[0] - other[0]).norm()) for one, other in combinations(own, 2)]
    return {"concepts": len(tasks), "same": round(median(same), 3), "different": round(median(different), 3)}


def _novelty(concepts: Sequence[Concept], known: set[str]) -> list[dict[str, Any]]:
    """Return how far each test concept's effect is from the nearest training concept's, of 0 to 255."""
    scenes = torch.stack([tensor(scene(number)) for number in range(SCENES)])
    trained = {concept.id: concept for concept in concepts if concept.split == "train" and concept.id in known}
    effects = torch.stack([edited(concept, scenes).float() for concept in trained.values()])
    found = []
    for concept in concepts:
        if concept.split == "test":
            apart = (effects - edited(concept, scenes).float()).abs().flatten(1).mean(1)
            nearest = list(trained)[int(apart.argmin())]
            row: dict[str, Any] = {"id": concept.id, "novelty": concept.novelty, "text": concept.texts[0]}
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
