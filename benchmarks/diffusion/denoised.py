"""Do denoised weights save training?

    python -m benchmarks.diffusion.denoised PIPELINE --zoo ZOO --data cifar10.tar.xz

Networks for edits that no training saw begin at seven starts and are trained alike: the same pictures, steps and
losses, each start with the rate of `--rate` that does best for it on other edits, those for validation. Counted is how
many steps each needs for what training from random weights reaches at its end: in L1, and in structural similarity
(SSIM, Wang et al., 2004). FID needs a network that is not shipped, and thousands of pictures; it is not measured. The
result goes to `cards/results/NAME.json`: in how many edits each start got there, and after how many steps.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any, Final

import torch
import typer
from torch import Tensor

from benchmarks.diffusion.denoised_baselines import Known, State, starts, tasks_of
from benchmarks.provenance import provenance
from checkpoints.concepts import Concept
from checkpoints.ensemble import Ensemble, Pairs
from checkpoints.generator import generator
from checkpoints.pictures import edited, pictures
from checkpoints.recipe import Recipe, Start
from checkpoints.train import read_concepts
from paramgen.diffusion.loading import open_pipeline
from paramgen.errors import ParamgenError
from paramgen.storage.folder import write_text
from paramgen.zoo import Zoo

JUDGED: Final = 32  # pictures of which none is trained on
TRAINED: Final = 256
GROUP: Final = 12  # networks at a time
SCRATCH: Final = "random"
RATES: Final = (3e-3,)

Curve = dict[int, tuple[float, float]]  # L1 and SSIM after so many steps
Curves = dict[str, list[Curve]]  # of every concept, by start
States = dict[str, list[State]]


def snapshots(steps: int) -> tuple[int, ...]:
    """Return the steps after which networks are judged: all of the first ones, then ever fewer."""
    found = [1]
    while found[-1] < steps:
        found.append(max(found[-1] + 1, round(found[-1] * 1.35)))
    return (*(step for step in found if step < steps), steps)


def trained(states: Sequence[State], pairs: Pairs, *, steps: int, rate: float) -> tuple[list[Curve], float]:
    """Train networks and return the curve of each, from step 0 on, and the seconds of a step of one."""
    recipe = Recipe(train=1, validation=0, test=0, start=Start(), form="full", snapshots=snapshots(steps), rate=rate)
    recipe = replace(recipe, pictures=TRAINED, judged=JUDGED)
    ensemble = Ensemble(generator(), dict(states[0]), tasks_of(states), pairs, recipe)
    found = {0: _judged(ensemble)}
    begin, spent = time.perf_counter(), 0.0
    for snapshot in ensemble.run(TRAINED, seed=0):
        spent += time.perf_counter() - begin
        found[snapshot.steps] = _judged(ensemble)
        begin = time.perf_counter()
    curves = [{step: values[place] for step, values in found.items()} for place in range(len(states))]
    return curves, spent / steps / len(states)


@torch.no_grad()
def _judged(ensemble: Ensemble) -> list[tuple[float, float]]:
    """Return L1 and SSIM of every network on the pictures that none is trained on."""
    from skimage.metrics import structural_similarity  # pip install --group benchmarks

    inputs, wanted = ensemble.pairs.at(torch.arange(TRAINED, TRAINED + JUDGED))
    made = ensemble.outputs(inputs).clamp(-1, 1)
    found = []
    for own, target in zip(made, wanted, strict=True):
        both = zip(own.numpy(), target.numpy(), strict=True)
        ssim = mean(float(structural_similarity(one, other, channel_axis=0, data_range=2.0)) for one, other in both)
        found.append((float((own - target).abs().mean()), ssim))
    return found


def measure(
    concepts: Sequence[Concept], states: States, given: Tensor, *, steps: int, rate: float
) -> tuple[Curves, list[float]]:
    """Return the curves of every start, and what a step took."""
    found: Curves = {name: [] for name in states}
    seconds = []
    for begin in range(0, len(concepts), GROUP):
        group = concepts[begin : begin + GROUP]
        pairs = Pairs(inputs=given, targets=torch.stack([edited(concept, given) for concept in group]))
        for name, every in states.items():
            curves, spent = trained(every[begin : begin + GROUP], pairs, steps=steps, rate=rate)
            found[name] += curves
            seconds.append(spent)
            sys.stderr.write(f"{begin + len(group)} of {len(concepts)} edits, {name}, rate {rate:g}\n")
    return found, seconds


def until(curve: Curve, goal: tuple[float, float]) -> tuple[int | None, int | None]:
    """Return the first steps at which L1 and SSIM are as good as the goal; None where they never are."""
    near = next((step for step, (distance, _) in curve.items() if distance <= goal[0]), None)
    like = next((step for step, (_, similar) in curve.items() if similar >= goal[1]), None)
    return near, like


def summary(curves: Curves, steps: int) -> dict[str, Any]:
    """Return, of each start, steps to what random weights reach at the end, and where it stands at both ends."""
    goals = [curve[steps] for curve in curves[SCRATCH]]
    found = {}
    for name, every in curves.items():
        pairs = [until(curve, goal) for curve, goal in zip(every, goals, strict=True)]
        found[name] = {
            measure: {
                "reached": sum(pair[place] is not None for pair in pairs),
                "median_steps": median(steps + 1 if (own := pair[place]) is None else own for pair in pairs),
                "at_0": round(mean(curve[0][place] for curve in every), 4),
                "at_end": round(mean(curve[steps][place] for curve in every), 4),
            }
            for place, measure in enumerate(("l1", "ssim"))
        }
    return found


def chosen_rates(
    rates: Sequence[float], concepts: Sequence[Concept], states: States, given: Tensor, *, steps: int
) -> dict[str, float]:
    """Return the rate of each start that ends nearest on edits for validation; of one rate there is no choice."""
    if len(rates) == 1:
        return dict.fromkeys(states, rates[0])
    tried = {rate: measure(concepts, states, given, steps=steps, rate=rate)[0] for rate in rates}
    return {name: min(tried, key=lambda rate: mean(curve[steps][0] for curve in tried[rate][name])) for name in states}


def by_novelty(concepts: Sequence[Concept], curves: Curves, steps: int) -> dict[str, Any]:
    """Return the summary of each kind of unseen edit alone."""
    found: dict[str, Any] = {}
    for kind in sorted({concept.novelty for concept in concepts}):
        places = [place for place, concept in enumerate(concepts) if concept.novelty == kind]
        found[kind] = summary({name: [every[place] for place in places] for name, every in curves.items()}, steps)
    return found


def run(
    pipeline: str, zoo: Path, data: str, *, concepts: int, steps: int, rates: Sequence[float], **denoising: Any
) -> dict[str, Any]:
    """Return the whole result; `denoising` has steps and guidance of it."""
    opened = open_pipeline(pipeline)
    known = Known.of(Zoo.open(zoo), opened.pipeline)
    every, given = read_concepts(zoo), pictures(data, TRAINED + JUDGED)
    unseen = [concept for concept in every if concept.split == "test"][:concepts]
    held = [concept for concept in every if concept.split == "validation"]

    def states(chosen: Sequence[Concept]) -> States:
        found = [starts(known, opened.pipeline, concept.texts[0], **denoising) for concept in chosen]
        return {name: [each[name] for each in found] for name in found[0]}

    best = chosen_rates(rates, held, states(held), given, steps=steps)
    curves: Curves = {}
    seconds: list[float] = []
    for rate in sorted(set(best.values())):
        part = {name: own for name, own in states(unseen).items() if best[name] == rate}
        own, spent = measure(unseen, part, given, steps=steps, rate=rate)
        curves, seconds = curves | own, seconds + spent
    return {
        "provenance": provenance(),
        "pipeline": {"name": Path(pipeline).name, "sha256": opened.sha256},
        "concepts": {concept.id: concept.novelty for concept in unseen},
        "steps": steps,
        "denoising": denoising,
        "rates": best,
        "seconds_per_step": round(median(seconds), 5),
        "summary": summary(curves, steps),
        "by_novelty": by_novelty(unseen, curves, steps),
    }


def main(
    pipeline: Annotated[str, typer.Argument(help="The folder of a pipeline.")],
    zoo: Annotated[Path, typer.Option(help="The zoo that it was trained on.")],
    data: Annotated[str, typer.Option(help="The pictures of the zoo.")],
    *,
    name: Annotated[str, typer.Option(help="Of the result.")] = "denoised",
    concepts: Annotated[int, typer.Option(min=1, help="How many unseen edits.")] = 48,
    steps: Annotated[int, typer.Option(min=2, help="Of training from each start.")] = 120,
    rate: Annotated[list[float] | None, typer.Option(help="Rates to choose from.")] = None,
    denoising: Annotated[int, typer.Option(min=1, help="Steps of denoising.")] = 8,
    guidance: Annotated[float, typer.Option(min=0, help="1 follows the words.")] = 1.0,
) -> None:
    """Measure what denoised weights save."""
    try:
        result = run(
            pipeline,
            zoo,
            data,
            concepts=concepts,
            steps=steps,
            rates=rate or RATES,
            denoising_steps=denoising,
            guidance=guidance,
        )
    except ParamgenError as error:
        sys.stderr.write(f"error: {error.message}\n")
        raise typer.Exit(2) from error
    write_text(Path(f"cards/results/{name}.json"), json.dumps(result, indent=1) + "\n")
    sys.stdout.write(json.dumps(result["summary"], indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
