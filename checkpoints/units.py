"""One unit of a zoo: concepts that are trained together, and one shard. It is made whole or again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from torch import Tensor

from checkpoints.ensemble import Ensemble, stack
from checkpoints.kinds import AnyConcept, Kind
from checkpoints.networks import targets, trained
from checkpoints.recipe import Recipe
from checkpoints.writing import finite
from paramgen.zoo.hashes import content_sha256
from paramgen.zoo.layout import Layout
from paramgen.zoo.low_rank import RIGHT, first_factors
from paramgen.zoo.table import Row

REPEATS: Final = (1, 2)
"""The seeds of the concepts that are trained again."""

Made = list[tuple[Row, dict[str, Tensor]]]
"""Checkpoints, each with its row."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Concepts that share a shard and a seed."""

    number: int
    seed: int
    concepts: tuple[AnyConcept, ...]

    @property
    def shard(self) -> str:
        """The name of the unit's file."""
        return f"{self.number:05d}.safetensors"


def units(recipe: Recipe, concepts: Sequence[AnyConcept]) -> list[Unit]:
    """Return all units of a recipe: every concept that is not for testing, then the repeated ones."""
    own = [concept for concept in concepts if concept.split != "test"]
    # Evenly chosen: the first concepts are single edits.
    again = [own[place * len(own) // recipe.repeated] for place in range(min(recipe.repeated, len(own)))]
    found: list[Unit] = []
    for seed, chosen in ((0, own), *((seed, again) for seed in REPEATS)):
        for begin in range(0, len(chosen), recipe.group):
            group = tuple(chosen[begin : begin + recipe.group])
            found.append(Unit(number=len(found), seed=seed, concepts=group))
    return found


def layout_of(kind: Kind, base: Mapping[str, Tensor]) -> Layout:
    """Return what zoo.json says of this recipe's checkpoints."""
    recipe = kind.recipe
    low = recipe.form == "low_rank"
    return Layout(
        spec=kind.network.spec,
        config=kind.network.config,
        task=recipe.task,
        form=recipe.form,
        rank=recipe.rank,
        alpha=recipe.alpha,
        targets=targets(base) if low else (),
        trained=trained(base) if low else (),
    )


def trained_unit(unit: Unit, kind: Kind, base: Mapping[str, Tensor], about: Mapping[str, str]) -> Made:
    """Train a unit and return its checkpoints, those that are finite. `about` has licence, source and revision."""
    recipe, examples = kind.recipe, kind.examples(unit.concepts)
    own = stack(first_tensors(recipe, base), examples.tasks)
    ensemble = Ensemble(kind.network.made(recipe.seed), base, own, examples, recipe)
    always = {"start": ensemble.distance(kind.trained_on), **kind.without(examples)}
    alike: dict[str, Any] = {"shard": unit.shard, "seed": unit.seed, "form": recipe.form, **about}
    alike["architecture_sha256"] = layout_of(kind, base).architecture_sha256
    found = []
    for snapshot in ensemble.run(kind.trained_on, seed=unit.seed):
        figures = {**snapshot.figures, **always}
        for place, concept in enumerate(unit.concepts):
            tensors = {name: each[place].clone() for name, each in snapshot.tensors.items()}
            row = Row(
                id=f"{concept.id}.s{unit.seed}.{snapshot.steps:05d}",
                task=concept.id,
                split=concept.split,
                texts=concept.texts,
                steps=snapshot.steps,
                metrics={name: round(float(values[place]), 6) for name, values in figures.items()},
                content_sha256=content_sha256(tensors),
                **alike,
            )
            if finite(tensors):
                found.append((row, tensors))
    return found


def first_tensors(recipe: Recipe, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what every concept trains, as it begins: the factors and small slots, or all there is."""
    if recipe.form == "full":
        return {name: each for name, each in base.items() if not name.endswith(RIGHT)}
    factors = first_factors(base, targets(base), rank=recipe.rank, seed=recipe.seed)
    own = {name: each for name, each in factors.items() if name not in base}
    return own | {name: base[name] for name in trained(base)}
