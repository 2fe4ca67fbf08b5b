"""One unit of a translation zoo: concepts that are trained together, and one shard. It is made whole or again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import UInt8
from torch import Tensor

from checkpoints.concepts import Concept
from checkpoints.ensemble import Ensemble, Pairs, stack
from checkpoints.generator import CONFIG, SPEC, generator, targets, trained
from checkpoints.pictures import edited
from checkpoints.recipe import Recipe
from checkpoints.writing import finite
from paramgen.zoo.hashes import content_sha256
from paramgen.zoo.layout import Layout
from paramgen.zoo.low_rank import RIGHT, first_factors
from paramgen.zoo.table import Row

REPEATS = (1, 2)
"""The seeds of the concepts that are trained again."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Concepts that share a shard and a seed."""

    number: int
    seed: int
    concepts: tuple[Concept, ...]

    @property
    def shard(self) -> str:
        """The name of the unit's file."""
        return f"{self.number:05d}.safetensors"


def units(recipe: Recipe, concepts: Sequence[Concept]) -> list[Unit]:
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


def layout_of(recipe: Recipe, base: Mapping[str, Tensor]) -> Layout:
    """Return what zoo.json says of this recipe's checkpoints."""
    low = recipe.form == "low_rank"
    return Layout(
        spec=SPEC,
        config=CONFIG,
        task="translation",
        form=recipe.form,
        rank=recipe.rank,
        alpha=recipe.alpha,
        targets=targets(dict(base)) if low else (),
        trained=trained(dict(base)) if low else (),
    )


def trained_unit(
    unit: Unit,
    recipe: Recipe,
    base: Mapping[str, Tensor],
    pictures: UInt8[Tensor, "batch 3 height width"],
    about: Mapping[str, str],
) -> list[tuple[Row, dict[str, Tensor]]]:
    """Train a unit and return its checkpoints, those that are finite. `about` has licence, source and revision."""
    pairs = Pairs(inputs=pictures, targets=torch.stack([edited(each, pictures) for each in unit.concepts]))
    layout = layout_of(recipe, base)
    own = stack(first_tensors(recipe, base), len(unit.concepts))
    ensemble = Ensemble(generator(recipe.seed), base, own, pairs, recipe)
    start = ensemble.distance(recipe.pictures)
    inputs, wanted = pairs.at(torch.arange(recipe.pictures, len(pictures)))
    nothing = (inputs - wanted).abs().flatten(1).mean(1)
    found = []
    for snapshot in ensemble.run(recipe.pictures, seed=unit.seed):
        for place, tensors in _finite(snapshot.tensors, len(unit.concepts)):
            concept = unit.concepts[place]
            measured = {"distance": snapshot.distance, "start": start, "nothing": nothing}
            row = Row(
                id=f"{concept.id}.s{unit.seed}.{snapshot.steps:05d}",
                task=concept.id,
                split=concept.split,
                texts=concept.texts,
                seed=unit.seed,
                steps=snapshot.steps,
                shard=unit.shard,
                form=recipe.form,
                metrics={name: round(float(values[place]), 6) for name, values in measured.items()},
                licence=about["licence"],
                source=about["source"],
                revision=about["revision"],
                architecture_sha256=layout.architecture_sha256,
                content_sha256=content_sha256(tensors),
            )
            found.append((row, tensors))
    return found


def first_tensors(recipe: Recipe, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what every concept trains, as it begins: the factors and small slots, or all there is."""
    if recipe.form == "full":
        return {name: each for name, each in base.items() if not name.endswith(RIGHT)}
    slots = targets(dict(base))
    factors = first_factors(base, slots, rank=recipe.rank, seed=recipe.seed)
    own = {name: each for name, each in factors.items() if name not in base}
    return own | {name: base[name] for name in trained(dict(base))}


def _finite(stacked: Mapping[str, Tensor], count: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
    for place in range(count):
        own = {name: each[place].clone() for name, each in stacked.items()}
        if finite(own):
            yield place, own
