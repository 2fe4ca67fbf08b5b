"""From runs to figures: the result of each initialization, and of an architecture with its conclusion."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from paramgen.comparison.conclusion import conclude, ranked
from paramgen.comparison.learning_rates import Runs, best_lr, runs_by_lr, validation_figures
from paramgen.comparison.protocol import Protocol
from paramgen.comparison.results import (
    Against,
    ArchitectureResult,
    AtBestLr,
    Curve,
    Edge,
    InitializationResult,
    Spread,
    StepsToBestSimple,
    TaskSummary,
)
from paramgen.comparison.run_record import RunRecord
from paramgen.comparison.runs import Store
from paramgen.comparison.statistics import area, difference, reached, sign
from paramgen.comparison.training import Job
from paramgen.initializers.library import LIBRARY
from paramgen.registry.chains import split_chain

LEARNED: Final = ("hypernet", "diffusion", "auto")
"""Kinds of initializers that a trained model stands behind; every other is simple."""


def architecture_result(job: Job, inits: Sequence[str], store: Store) -> ArchitectureResult:
    """Return the figures of all initializations of an architecture, compared with each other."""
    protocol, model, task = job.protocol, job.model, job.task.describe()
    found = [initialization_result(init, store.ended(model.name, init), protocol, task) for init in inits]
    simple = next((each for each in ranked(found, task.metric) if each.simple), None)
    default = next((each for each in found if each.init == LIBRARY and each.best is not None), simple)
    found = [
        replace(each, steps_to_best_simple=_steps_to(each, simple, task), against=_against(each, default, task))
        for each in found
    ]
    return ArchitectureResult(
        name=model.name,
        spec=model.architecture.spec,
        parameters=model.architecture.manifest.parameters,
        task=task,
        notes=tuple(model.notes),
        best_simple=None if simple is None else simple.init,
        initializations=tuple(found),
        conclusion=conclude(found, task, steps=protocol.steps, seeds=protocol.seeds),
        per_step=protocol.batch * (task.length or 1),
    )


def initialization_result(init: str, runs: Runs, protocol: Protocol, task: TaskSummary) -> InitializationResult:
    """Return all figures of one initialization, from its runs."""
    by_lr = runs_by_lr(runs, protocol)
    lr = best_lr(by_lr, task.metric)
    tried = [each for each, records in by_lr.items() if records]
    return InitializationResult(
        init=init,
        simple=split_chain(init)[0].partition(":")[0].partition("?")[0] not in LEARNED,
        by_lr={f"{each:g}": _spread(validation_figures(records, task)) for each, records in by_lr.items()},
        failed=sum(record.status == "failed" for record in runs.values()),
        reasons=tuple(sorted({str(record.reason) for record in runs.values() if record.status == "failed"})),
        diverged=sum(record.status == "diverged" for record in runs.values()),
        best=None if lr is None else _at_best_lr(lr, _edge(lr, tried), runs, protocol, task),
    )


def _spread(values: Sequence[float]) -> Spread | None:
    return Spread.of(values) if values else None


def _edge(lr: float, tried: Sequence[float]) -> Edge | None:
    """Say whether a learning rate lies at an edge of those tried."""
    if len(tried) < 2 or lr not in (min(tried), max(tried)):
        return None
    return "smallest" if lr == min(tried) else "largest"


def _at_best_lr(lr: float, edge: Edge | None, runs: Runs, protocol: Protocol, task: TaskSummary) -> AtBestLr:
    points, better = protocol.points, sign(task.metric)
    own = {seed: runs[lr, seed] for seed in range(protocol.seeds) if (lr, seed) in runs}
    own = {seed: record for seed, record in own.items() if record.status != "failed"}
    curves = [curve_of(record, points, task) for record in own.values()]
    return AtBestLr(
        lr=lr,
        lr_at_edge=edge,
        seeds=tuple(own),
        diverged=sum(record.status == "diverged" for record in own.values()),
        at_chance=sum(better * curve[-1] <= better * task.at_chance_up_to for curve in curves),
        steps=tuple(points),
        curve=Curve.of(curves),
        area=Spread.of([area(curve, points) for curve in curves]),
        seconds=Spread.of([record.seconds for record in own.values()]),
        init_seconds=Spread.of([record.init_seconds for record in own.values()]),
        numbers=max((record.numbers for record in own.values() if record.numbers is not None), default=None),
        nbytes=max((record.nbytes for record in own.values() if record.nbytes is not None), default=None),
    )


def curve_of(record: RunRecord, points: Sequence[int], task: TaskSummary) -> list[float]:
    """Return a run's values at all points; where it was not finite, those of guessing."""
    values = record.accuracy if task.metric == "accuracy" else record.loss
    known = dict(zip(record.steps, values, strict=True))
    found = [known.get(point) for point in points]
    return [task.guess if value is None else value for value in found]


def _steps_to(
    result: InitializationResult, simple: InitializationResult | None, task: TaskSummary
) -> StepsToBestSimple | None:
    """Return after how many steps an initialization is where the best simple one ends: its mean, and each seed."""
    if simple is None or simple.best is None or result.best is None:
        return None
    target, curve, points = simple.best.final.mean, result.best.curve, result.best.steps
    return StepsToBestSimple(
        target=target,
        mean_curve=reached(curve.mean, points, target, task.metric),
        values=tuple(reached(each, points, target, task.metric) for each in zip(*curve.values, strict=True)),
    )


def _against(result: InitializationResult, other: InitializationResult | None, task: TaskSummary) -> Against | None:
    """Return how far an initialization ends above another, with intervals."""
    if other is None or other.best is None or result.best is None or result.init == other.init:
        return None
    found = difference(result.best.by_seed, other.best.by_seed, tested=task.test)
    return None if found is None else Against(init=other.init, difference=found)
