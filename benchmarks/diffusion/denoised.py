"""Do denoised weights save training?

    python -m benchmarks.diffusion.denoised PIPELINE --zoo ZOO --data cifar10.tar.xz

Networks for unseen edits are trained from seven initializations in the same way: with the same pictures, steps and
losses, and for each initialization with the learning rate of `--lr` that is best for it on the validation edits. The
result is how many steps each needs to reach what random weights reach at the end: in L1, and in structural similarity
(SSIM, Wang et al., 2004). FID needs a network that is not shipped, and thousands of pictures; it is not measured. It
goes to `cards/results/NAME.json`: for how many edits each initialization got there, and after how many steps.
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

from benchmarks.diffusion.initializations import KnownCheckpoints, State, initializations, stacked
from benchmarks.provenance import provenance
from checkpoints.ensemble import Ensemble, Pairs
from checkpoints.generator import generator
from checkpoints.pictures import edited, pictures
from checkpoints.recipe import BaseTraining, ZooRecipe
from checkpoints.tasks import EditTask
from checkpoints.train import read_edit_tasks
from paramgen.diffusion.loading import open_pipeline
from paramgen.errors import ParamgenError
from paramgen.storage.folder import write_text
from paramgen.zoo import Zoo

HELD_OUT: Final = 32  # pictures held out for the metrics
TRAINED: Final = 256
GROUP: Final = 12  # networks at a time
SCRATCH: Final = "random"
LEARNING_RATES: Final = (3e-3,)

Curve = dict[int, tuple[float, float]]  # L1 and SSIM after so many steps
Curves = dict[str, list[Curve]]  # of every task, by initialization
States = dict[str, list[State]]


def snapshots(steps: int) -> tuple[int, ...]:
    """Return the steps after which networks are evaluated: all of the first ones, then ever fewer."""
    found = [1]
    while found[-1] < steps:
        found.append(max(found[-1] + 1, round(found[-1] * 1.35)))
    return (*(step for step in found if step < steps), steps)


def train(states: Sequence[State], pairs: Pairs, *, steps: int, lr: float) -> tuple[list[Curve], float]:
    """Train networks and return the curve of each, from step 0 on, and the seconds of a step of one."""
    recipe = ZooRecipe(
        train=1, validation=0, test=0, base=BaseTraining(), form="full", snapshots=snapshots(steps), lr=lr
    )
    recipe = replace(recipe, pictures=TRAINED, held_out=HELD_OUT)
    ensemble = Ensemble(generator(), dict(states[0]), stacked(states), pairs, recipe)
    found = {0: _evaluate(ensemble)}
    begin, spent = time.perf_counter(), 0.0
    for snapshot in ensemble.run(TRAINED, seed=0):
        spent += time.perf_counter() - begin
        found[snapshot.steps] = _evaluate(ensemble)
        begin = time.perf_counter()
    curves = [{step: values[index] for step, values in found.items()} for index in range(len(states))]
    return curves, spent / steps / len(states)


@torch.no_grad()
def _evaluate(ensemble: Ensemble) -> list[tuple[float, float]]:
    """Return L1 and SSIM of every network on the held-out pictures."""
    from skimage.metrics import structural_similarity  # pip install --group benchmarks

    inputs, wanted = ensemble.examples.at(torch.arange(TRAINED, TRAINED + HELD_OUT))
    made = ensemble.outputs(inputs).clamp(-1, 1)
    found = []
    for own, target in zip(made, wanted, strict=True):
        both = zip(own.numpy(), target.numpy(), strict=True)
        ssim = mean(float(structural_similarity(one, other, channel_axis=0, data_range=2.0)) for one, other in both)
        found.append((float((own - target).abs().mean()), ssim))
    return found


def measure(
    tasks: Sequence[EditTask], states: States, given: Tensor, *, steps: int, lr: float
) -> tuple[Curves, list[float]]:
    """Return the curves of every initialization, and the seconds of a step."""
    found: Curves = {name: [] for name in states}
    seconds = []
    for begin in range(0, len(tasks), GROUP):
        group = tasks[begin : begin + GROUP]
        pairs = Pairs(inputs=given, targets=torch.stack([edited(task, given) for task in group]))
        for name, every in states.items():
            curves, spent = train(every[begin : begin + GROUP], pairs, steps=steps, lr=lr)
            found[name] += curves
            seconds.append(spent)
            sys.stderr.write(f"{begin + len(group)} of {len(tasks)} edits, {name}, lr {lr:g}\n")
    return found, seconds


def until(curve: Curve, goal: tuple[float, float]) -> tuple[int | None, int | None]:
    """Return the first steps at which L1 and SSIM are as good as the goal; None where they never are."""
    near = next((step for step, (distance, _) in curve.items() if distance <= goal[0]), None)
    like = next((step for step, (_, similar) in curve.items() if similar >= goal[1]), None)
    return near, like


def summary(curves: Curves, steps: int) -> dict[str, Any]:
    """Return each initialization's metrics at both ends, and its steps to what random weights reach at the end."""
    goals = [curve[steps] for curve in curves[SCRATCH]]
    found = {}
    for initialization, every in curves.items():
        pairs = [until(curve, goal) for curve, goal in zip(every, goals, strict=True)]
        found[initialization] = {
            name: {
                "reached": sum(pair[metric] is not None for pair in pairs),
                "median_steps": median(steps + 1 if (own := pair[metric]) is None else own for pair in pairs),
                "at_0": round(mean(curve[0][metric] for curve in every), 4),
                "at_end": round(mean(curve[steps][metric] for curve in every), 4),
            }
            for metric, name in enumerate(("l1", "ssim"))
        }
    return found


def chosen_lrs(
    lrs: Sequence[float], tasks: Sequence[EditTask], states: States, given: Tensor, *, steps: int
) -> dict[str, float]:
    """Return the learning rate of each initialization that ends nearest on the validation edits."""
    if len(lrs) == 1:
        return dict.fromkeys(states, lrs[0])
    tried = {lr: measure(tasks, states, given, steps=steps, lr=lr)[0] for lr in lrs}
    return {name: min(tried, key=lambda lr: mean(curve[steps][0] for curve in tried[lr][name])) for name in states}


def by_novelty(tasks: Sequence[EditTask], curves: Curves, steps: int) -> dict[str, Any]:
    """Return the summary of each kind of unseen edit alone."""
    found: dict[str, Any] = {}
    for kind in sorted({task.novelty for task in tasks}):
        indices = [index for index, task in enumerate(tasks) if task.novelty == kind]
        found[kind] = summary({name: [every[index] for index in indices] for name, every in curves.items()}, steps)
    return found


def run(
    pipeline: str, zoo: Path, data: str, *, tasks: int, steps: int, lrs: Sequence[float], **denoising: Any
) -> dict[str, Any]:
    """Return the whole result; `denoising` has steps and guidance of it."""
    opened = open_pipeline(pipeline)
    known = KnownCheckpoints.of(Zoo.open(zoo), opened.pipeline)
    every, given = read_edit_tasks(zoo), pictures(data, TRAINED + HELD_OUT)
    unseen = [task for task in every if task.split == "test"][:tasks]
    held = [task for task in every if task.split == "validation"]

    def states(chosen: Sequence[EditTask]) -> States:
        found = [initializations(known, opened.pipeline, task.texts[0], **denoising) for task in chosen]
        return {name: [each[name] for each in found] for name in found[0]}

    best = chosen_lrs(lrs, held, states(held), given, steps=steps)
    curves: Curves = {}
    seconds: list[float] = []
    for lr in sorted(set(best.values())):
        part = {name: own for name, own in states(unseen).items() if best[name] == lr}
        own, spent = measure(unseen, part, given, steps=steps, lr=lr)
        curves, seconds = curves | own, seconds + spent
    return {
        "provenance": provenance(),
        "pipeline": {"name": Path(pipeline).name, "sha256": opened.sha256},
        "tasks": {task.id: task.novelty for task in unseen},
        "steps": steps,
        "denoising": denoising,
        "lr": best,
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
    tasks: Annotated[int, typer.Option(min=1, help="How many unseen edits.")] = 48,
    steps: Annotated[int, typer.Option(min=2, help="Of training from each initialization.")] = 120,
    lr: Annotated[list[float] | None, typer.Option(help="Learning rates to choose from.")] = None,
    denoising: Annotated[int, typer.Option(min=1, help="Steps of denoising.")] = 8,
    guidance: Annotated[float, typer.Option(min=0, help="1 is without guidance.")] = 1.0,
) -> None:
    """Measure what denoised weights save."""
    try:
        result = run(
            pipeline,
            zoo,
            data,
            tasks=tasks,
            steps=steps,
            lrs=lr or LEARNING_RATES,
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
