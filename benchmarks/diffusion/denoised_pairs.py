"""Do weights denoised from the names of two classes tell them apart? `python -m benchmarks.diffusion.denoised_pairs`.

A zoo has small ConvNeXts for pairs of CIFAR-10's classes, and a pipeline that learned from it is asked for pairs that
it never saw; it has seen each class in other pairs. Networks from the initializations of
`benchmarks.diffusion.initializations` are trained on the same pictures, for each initialization with the learning rate
of `--lr` that is best for it on the validation pairs. The result is the accuracy before training and after so many
steps; it goes to `cards/results/pairs_initializations.json`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any, Final

import torch
import typer
from torch import Tensor

from benchmarks.diffusion.initializations import KnownCheckpoints, State, initializations, stacked
from benchmarks.provenance import provenance
from checkpoints.class_tasks import ClassTask
from checkpoints.ensemble import Ensemble
from checkpoints.recipe import ZooRecipe
from checkpoints.recipes.pairs import config
from checkpoints.task_sets import TaskSet, task_set_of
from checkpoints.train import read_class_tasks
from paramgen.diffusion.loading import open_pipeline
from paramgen.errors import ParamgenError
from paramgen.storage.folder import write_text
from paramgen.zoo import Zoo

RESULT: Final = Path("cards") / "results" / "pairs_initializations.json"
LEARNING_RATES: Final = (1e-3, 3e-3, 1e-2)

Accuracies = dict[int, list[float]]  # after so many steps, of each pair


def train(
    task_set: TaskSet, pairs: Sequence[ClassTask], states: Sequence[State], recipe: ZooRecipe, seed: int
) -> Accuracies:
    """Return the accuracy on each pair, before training and after each of the recipe's snapshots."""
    ensemble = Ensemble(
        task_set.network.initialized(0), dict(states[0]), stacked(states), task_set.examples(pairs), recipe
    )
    found = {0: ensemble.metrics(task_set.train_count)["accuracy"]}
    found |= {each.steps: each.metrics["accuracy"] for each in ensemble.run(task_set.train_count, seed=seed)}
    return {steps: [float(value) for value in values] for steps, values in found.items()}


def run(
    pipeline: str, zoo: Path, data: str, *, snapshots: tuple[int, ...], lrs: Sequence[float], seeds: int
) -> dict[str, Any]:
    """Return the whole result."""
    opened = open_pipeline(pipeline)
    known = KnownCheckpoints.of(Zoo.open(zoo), opened.pipeline)
    task_set = task_set_of(config(), data)
    every = read_class_tasks(zoo)
    unseen, held = ([each for each in every if each.split == split] for split in ("test", "validation"))
    recipe = replace(config(), form="full", snapshots=snapshots)

    def states(pairs: Sequence[ClassTask]) -> dict[str, list[State]]:
        of = partial(initializations, known, opened.pipeline, network=task_set.network, denoising_steps=1, guidance=1.0)
        found = [of(pair.texts[0]) for pair in pairs]
        return {name: [each[name] for each in found] for name in found[0]}

    def ends(name: str, own: Sequence[State], lr: float) -> float:
        sys.stderr.write(f"{name}, lr {lr:g}, {len(held)} pairs for validation\n")
        return mean(train(task_set, held, own, replace(recipe, lr=lr), seed=0)[snapshots[-1]])

    best = {name: max(lrs, key=lambda lr: ends(name, own, lr)) for name, own in states(held).items()}
    found: dict[str, list[Accuracies]] = {}
    for name, own in states(unseen).items():
        sys.stderr.write(f"{name}, {len(unseen)} unseen pairs\n")
        rated = replace(recipe, lr=best[name])
        found[name] = [train(task_set, unseen, own, rated, seed) for seed in range(seeds)]
    return {
        **provenance(),
        "pipeline": {"sha256": opened.sha256, "trained_pairs": len(known.rows)},
        "pairs": [pair.id for pair in unseen],
        "test_pictures": 2 * config().held_out,
        "batch": config().batch,
        "seeds": seeds,
        "lr": best,
        "initializations": {name: summary(own) for name, own in found.items()},
        "wins": wins(found, snapshots),
    }


def summary(runs: Sequence[Accuracies]) -> dict[str, Any]:
    """Return the mean over pairs and seeds after each number of steps, and the std over the seeds."""
    found = {}
    for steps in runs[0]:
        by_seed = [mean(each[steps]) for each in runs]
        std = stdev(by_seed) if len(by_seed) > 1 else 0.0
        found[str(steps)] = {"accuracy": round(mean(by_seed), 4), "std": round(std, 4)}
    return found


def wins(found: Mapping[str, Sequence[Accuracies]], snapshots: Sequence[int]) -> dict[str, dict[str, int]]:
    """Return on how many pairs the denoised weights are better than from each other initialization."""

    def of(name: str, steps: int) -> Tensor:
        return torch.tensor([each[steps] for each in found[name]]).mean(0)

    others = [name for name in found if name != "denoised"]
    return {
        str(steps): {name: int((of("denoised", steps) > of(name, steps)).sum()) for name in others}
        for steps in (0, *snapshots)
    }


def main(
    pipeline: Annotated[str, typer.Argument(help="The folder of a pipeline.")],
    zoo: Annotated[Path, typer.Option(help="The zoo that it was trained on.")],
    data: Annotated[str, typer.Option(help="The pictures of the zoo.")],
    *,
    steps: Annotated[list[int] | None, typer.Option(help="After which to evaluate.")] = None,
    lr: Annotated[list[float] | None, typer.Option(help="Learning rates to choose from.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Orders of the pictures.")] = 3,
) -> None:
    """Measure what denoised weights of classifiers are worth."""
    try:
        snapshots = tuple(sorted(steps or (10, 50)))
        result = run(pipeline, zoo, data, snapshots=snapshots, lrs=lr or LEARNING_RATES, seeds=seeds)
    except ParamgenError as error:
        sys.stderr.write(f"error: {error.message}\n")
        raise typer.Exit(2) from error
    write_text(RESULT, json.dumps(result, indent=1) + "\n")
    sys.stdout.write(json.dumps(result["initializations"], indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
