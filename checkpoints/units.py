"""One unit of a zoo: the tasks that are trained together and stored in one shard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from torch import Tensor

from checkpoints.ensemble import Ensemble, stack
from checkpoints.networks import targets, trained
from checkpoints.recipe import ZooRecipe
from checkpoints.task_sets import TaskSet, ZooTask
from checkpoints.writing import finite
from paramgen.zoo.hashes import content_sha256
from paramgen.zoo.layout import ZooLayout
from paramgen.zoo.low_rank import RIGHT, first_factors
from paramgen.zoo.table import Row

REPEATS: Final = (1, 2)
"""The seeds of the tasks that are trained repeatedly."""

Made = list[tuple[Row, dict[str, Tensor]]]
"""Checkpoints, each with its row."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Tasks that share a shard and a seed."""

    number: int
    seed: int
    tasks: tuple[ZooTask, ...]

    @property
    def shard(self) -> str:
        """The name of the unit's file."""
        return f"{self.number:05d}.safetensors"


def units(recipe: ZooRecipe, tasks: Sequence[ZooTask]) -> list[Unit]:
    """Return all units of a recipe: every task outside the test split, then the repeated ones."""
    own = [task for task in tasks if task.split != "test"]
    # Evenly chosen: the first tasks are single edits.
    again = [own[index * len(own) // recipe.repeated] for index in range(min(recipe.repeated, len(own)))]
    found: list[Unit] = []
    for seed, chosen in ((0, own), *((seed, again) for seed in REPEATS)):
        for begin in range(0, len(chosen), recipe.group):
            group = tuple(chosen[begin : begin + recipe.group])
            found.append(Unit(number=len(found), seed=seed, tasks=group))
    return found


def layout_of(task_set: TaskSet, base: Mapping[str, Tensor]) -> ZooLayout:
    """Return the layout that all checkpoints of a recipe share, which zoo.json describes."""
    recipe = task_set.recipe
    low = recipe.form == "low_rank"
    return ZooLayout(
        spec=task_set.network.spec,
        config=task_set.network.config,
        kind=recipe.kind,
        form=recipe.form,
        rank=recipe.rank,
        alpha=recipe.alpha,
        targets=targets(base) if low else (),
        trained=trained(base) if low else (),
    )


def trained_unit(unit: Unit, task_set: TaskSet, base: Mapping[str, Tensor], about: Mapping[str, str]) -> Made:
    """Train a unit and return its finite checkpoints. `about` has licence, source and revision."""
    recipe, examples = task_set.recipe, task_set.examples(unit.tasks)
    own = stack(first_tensors(recipe, base), examples.task_count)
    ensemble = Ensemble(task_set.network.initialized(recipe.seed), base, own, examples, recipe)
    always = {"base": ensemble.distance(task_set.train_count), **task_set.baseline_metrics(examples)}
    alike: dict[str, Any] = {"shard": unit.shard, "seed": unit.seed, "form": recipe.form, **about}
    alike["architecture_sha256"] = layout_of(task_set, base).architecture_sha256
    found = []
    for snapshot in ensemble.run(task_set.train_count, seed=unit.seed):
        metrics = {**snapshot.metrics, **always}
        for index, task in enumerate(unit.tasks):
            tensors = {name: each[index].clone() for name, each in snapshot.tensors.items()}
            row = Row(
                id=f"{task.id}.s{unit.seed}.{snapshot.steps:05d}",
                task=task.id,
                split=task.split,
                texts=task.texts,
                steps=snapshot.steps,
                metrics={name: round(float(values[index]), 6) for name, values in metrics.items()},
                content_sha256=content_sha256(tensors),
                **alike,
            )
            if finite(tensors):
                found.append((row, tensors))
    return found


def first_tensors(recipe: ZooRecipe, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the initial values of what each task trains: factors and small slots, or the whole state."""
    if recipe.form == "full":
        return {name: each for name, each in base.items() if not name.endswith(RIGHT)}
    factors = first_factors(base, targets(base), rank=recipe.rank, seed=recipe.seed)
    own = {name: each for name, each in factors.items() if name not in base}
    return own | {name: base[name] for name in trained(base)}
