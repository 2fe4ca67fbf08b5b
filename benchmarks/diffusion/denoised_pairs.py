"""Do weights denoised from the names of two classes tell them apart? `python -m benchmarks.diffusion.denoised_pairs`.

A zoo has small ConvNeXts for pairs of CIFAR-10's classes, and a pipeline that learned from it is asked for pairs that
it never saw; each class alone it has. Networks begin at the starts of `benchmarks.diffusion.denoised_baselines` and are
trained alike on the same pictures, each start with the rate of `--rate` that does best for it on the pairs for
validation. Counted are the test pictures whose class is found: before training, and after so many steps. The result
goes to `cards/results/pairs_starts.json`.
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

from benchmarks.diffusion.denoised_baselines import Known, State, starts, tasks_of
from benchmarks.provenance import provenance
from checkpoints.classes import ClassConcept
from checkpoints.ensemble import Ensemble
from checkpoints.kinds import Kind, kind_of
from checkpoints.recipe import Recipe
from checkpoints.recipes.pairs import config
from checkpoints.train import read_class_concepts
from paramgen.diffusion.loading import open_pipeline
from paramgen.errors import ParamgenError
from paramgen.storage.folder import write_text
from paramgen.zoo import Zoo

RESULT: Final = Path("cards") / "results" / "pairs_starts.json"
RATES: Final = (1e-3, 3e-3, 1e-2)

Accuracies = dict[int, list[float]]  # after so many steps, of each pair


def trained(
    kind: Kind, pairs: Sequence[ClassConcept], states: Sequence[State], recipe: Recipe, seed: int
) -> Accuracies:
    """Return the accuracy of one start on each pair, before training and after each of the recipe's snapshots."""
    ensemble = Ensemble(kind.network.made(0), dict(states[0]), tasks_of(states), kind.examples(pairs), recipe)
    found = {0: ensemble.figures(kind.trained_on)["accuracy"]}
    found |= {each.steps: each.figures["accuracy"] for each in ensemble.run(kind.trained_on, seed=seed)}
    return {steps: [float(value) for value in values] for steps, values in found.items()}


def run(
    pipeline: str, zoo: Path, data: str, *, snapshots: tuple[int, ...], rates: Sequence[float], seeds: int
) -> dict[str, Any]:
    """Return the whole result."""
    opened = open_pipeline(pipeline)
    known = Known.of(Zoo.open(zoo), opened.pipeline)
    kind = kind_of(config(), data)
    every = read_class_concepts(zoo)
    unseen, held = ([each for each in every if each.split == split] for split in ("test", "validation"))
    recipe = replace(config(), form="full", snapshots=snapshots)

    def states(pairs: Sequence[ClassConcept]) -> dict[str, list[State]]:
        of = partial(starts, known, opened.pipeline, network=kind.network, denoising_steps=1, guidance=1.0)
        found = [of(pair.texts[0]) for pair in pairs]
        return {name: [each[name] for each in found] for name in found[0]}

    def ends(name: str, own: Sequence[State], rate: float) -> float:
        sys.stderr.write(f"{name}, rate {rate:g}, {len(held)} pairs for validation\n")
        return mean(trained(kind, held, own, replace(recipe, rate=rate), seed=0)[snapshots[-1]])

    best = {name: max(rates, key=lambda rate: ends(name, own, rate)) for name, own in states(held).items()}
    found: dict[str, list[Accuracies]] = {}
    for name, own in states(unseen).items():
        sys.stderr.write(f"{name}, {len(unseen)} unseen pairs\n")
        rated = replace(recipe, rate=best[name])
        found[name] = [trained(kind, unseen, own, rated, seed) for seed in range(seeds)]
    return {
        **provenance(),
        "pipeline": {"sha256": opened.sha256, "trained_pairs": len(known.rows)},
        "pairs": [pair.id for pair in unseen],
        "test_pictures": 2 * config().judged,
        "batch": config().batch,
        "seeds": seeds,
        "rates": best,
        "starts": {name: summary(own) for name, own in found.items()},
        "wins": wins(found, snapshots),
    }


def summary(runs: Sequence[Accuracies]) -> dict[str, Any]:
    """Return the mean over pairs and seeds after each number of steps, and how far seeds spread."""
    found = {}
    for steps in runs[0]:
        by_seed = [mean(each[steps]) for each in runs]
        spread = stdev(by_seed) if len(by_seed) > 1 else 0.0
        found[str(steps)] = {"accuracy": round(mean(by_seed), 4), "spread": round(spread, 4)}
    return found


def wins(found: Mapping[str, Sequence[Accuracies]], snapshots: Sequence[int]) -> dict[str, dict[str, int]]:
    """Return on how many pairs the denoised weights are better than each other start, seeds together."""

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
    steps: Annotated[list[int] | None, typer.Option(help="After which to judge.")] = None,
    rate: Annotated[list[float] | None, typer.Option(help="Rates to choose from.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Orders of the pictures.")] = 3,
) -> None:
    """Measure what denoised weights of classifiers are worth."""
    try:
        judged = tuple(sorted(steps or (10, 50)))
        result = run(pipeline, zoo, data, snapshots=judged, rates=rate or RATES, seeds=seeds)
    except ParamgenError as error:
        sys.stderr.write(f"error: {error.message}\n")
        raise typer.Exit(2) from error
    write_text(RESULT, json.dumps(result, indent=1) + "\n")
    sys.stdout.write(json.dumps(result["starts"], indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
