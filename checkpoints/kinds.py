"""The two kinds of zoos: what their concepts are, what their networks learn from, and which network it is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from checkpoints.classes import ClassConcept, class_concepts
from checkpoints.classifier import CLASSIFIER
from checkpoints.concepts import Concept, concepts
from checkpoints.examples import Examples, Labelled, Pairs
from checkpoints.generator import TRANSLATOR
from checkpoints.networks import SIZE, Network
from checkpoints.pictures import edited, pictures
from checkpoints.recipe import Recipe
from paramgen.errors import OptionError
from paramgen.images.folders import folder_images
from paramgen.images.sets import decode

AnyConcept = Concept | ClassConcept


class Kind(ABC):
    """A recipe with its pictures."""

    recipe: Recipe
    pictures: UInt8[Tensor, "..."]

    @property
    @abstractmethod
    def network(self) -> Network:
        """The architecture of all checkpoints."""

    @property
    @abstractmethod
    def trained_on(self) -> int:
        """The first so many examples of a task are trained on, the others judge."""

    @abstractmethod
    def concepts(self) -> Sequence[AnyConcept]:
        """Return all concepts of the recipe."""

    @abstractmethod
    def examples(self, chosen: Sequence[Any]) -> Examples:
        """Return the examples of these concepts."""

    @abstractmethod
    def without(self, examples: Any) -> dict[str, Tensor]:
        """Return what each task's figures are without a network."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Translation(Kind):
    """Pictures become other pictures."""

    recipe: Recipe
    pictures: UInt8[Tensor, "batch 3 height width"]

    @property
    def network(self) -> Network:
        """The U-Net."""
        return TRANSLATOR

    @property
    def trained_on(self) -> int:
        """The number of pictures that are trained on."""
        return self.recipe.pictures

    def concepts(self) -> Sequence[Concept]:
        """Return the grammar's."""
        recipe = self.recipe
        return concepts(train=recipe.train, validation=recipe.validation, test=recipe.test, seed=recipe.seed)

    def examples(self, chosen: Sequence[Concept]) -> Pairs:
        """Return the pictures and what each concept makes of them."""
        return Pairs(inputs=self.pictures, targets=torch.stack([edited(each, self.pictures) for each in chosen]))

    def without(self, examples: Pairs) -> dict[str, Tensor]:
        """Return how far the pictures themselves are from what is wanted."""
        inputs, wanted = examples.at(torch.arange(self.trained_on, examples.count))
        return {"nothing": examples.off(inputs.expand_as(wanted), wanted).mean(1)}


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Classification(Kind):
    """Pictures of two classes are told apart."""

    recipe: Recipe
    names: tuple[str, ...]
    pictures: UInt8[Tensor, "classes each 3 height width"]

    @property
    def network(self) -> Network:
        """The ConvNeXt."""
        return CLASSIFIER

    @property
    def trained_on(self) -> int:
        """Twice the pictures of a class that are trained on: a task has two classes."""
        return 2 * self.recipe.pictures

    def concepts(self) -> Sequence[ClassConcept]:
        """Return pairs of classes."""
        recipe = self.recipe
        counts = {"train": recipe.train, "validation": recipe.validation, "test": recipe.test}
        return class_concepts(self.names, **counts, seed=recipe.seed)

    def examples(self, chosen: Sequence[ClassConcept]) -> Labelled:
        """Return the pictures of all classes, and which of them each concept tells apart."""
        places = [[self.names.index(name) for name in concept.classes] for concept in chosen]
        return Labelled(pictures=self.pictures, classes=torch.tensor(places))

    def without(self, examples: Labelled) -> dict[str, Tensor]:
        """Return nothing: half of the pictures are of each class."""
        return {}


def kind_of(recipe: Recipe, data: str) -> Kind:
    """Return a recipe with the pictures of `data`."""
    if recipe.task == "translation":
        return Translation(recipe=recipe, pictures=pictures(data, recipe.pictures + recipe.judged))
    path = Path(data)
    if not path.exists():
        raise OptionError(f"--data {data} does not exist. Type a folder or a tar of train/<class>/*.jpg.")
    found = folder_images(path)
    each = recipe.pictures + recipe.judged
    labels = np.asarray(found.train.labels)
    places = [np.flatnonzero(labels == number)[:each] for number in range(len(found.classes))]
    short = next((found.classes[number] for number, own in enumerate(places) if len(own) < each), None)
    if short is not None:
        raise OptionError(f"--data {data} has too few pictures of {short!r}; this recipe takes {each} of each class.")
    ascending = sorted(int(place) for own in places for place in own)
    array = torch.from_numpy(decode(found.train, ascending, [(3, SIZE, SIZE)], found.name)[0])
    rank = {place: index for index, place in enumerate(ascending)}
    chosen = torch.stack([array[[rank[int(place)] for place in own]] for own in places])
    return Classification(recipe=recipe, names=found.classes, pictures=chosen)
