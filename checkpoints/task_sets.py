"""The two kinds of zoos, translation and classification: their tasks, their examples, and their architecture."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from checkpoints.class_tasks import ClassTask, class_tasks
from checkpoints.classifier import CLASSIFIER
from checkpoints.examples import Examples, Labelled, Pairs
from checkpoints.generator import TRANSLATOR
from checkpoints.networks import SIZE, ZooNetwork
from checkpoints.pictures import edited, pictures
from checkpoints.recipe import ZooRecipe
from checkpoints.tasks import EditTask, edit_tasks
from paramgen.errors import OptionError
from paramgen.images.folders import folder_images
from paramgen.images.sets import decode

ZooTask = EditTask | ClassTask


class TaskSet(ABC):
    """The tasks of a recipe, with the examples and the architecture that they are trained with."""

    recipe: ZooRecipe
    pictures: UInt8[Tensor, "..."]

    @property
    @abstractmethod
    def network(self) -> ZooNetwork:
        """The architecture of all checkpoints."""

    @property
    @abstractmethod
    def train_count(self) -> int:
        """How many examples of a task are trained on; the rest are held out for its metrics."""

    @abstractmethod
    def tasks(self) -> Sequence[ZooTask]:
        """Return all tasks of the recipe."""

    @abstractmethod
    def examples(self, chosen: Sequence[Any]) -> Examples:
        """Return the examples of these tasks."""

    @abstractmethod
    def baseline_metrics(self, examples: Any) -> dict[str, Tensor]:
        """Return each task's metrics without a network, where that means something."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TranslationTasks(TaskSet):
    """Tasks that turn pictures into other pictures."""

    recipe: ZooRecipe
    pictures: UInt8[Tensor, "batch 3 height width"]

    @property
    def network(self) -> ZooNetwork:
        """The U-Net."""
        return TRANSLATOR

    @property
    def train_count(self) -> int:
        """The number of pictures that are trained on."""
        return self.recipe.pictures

    def tasks(self) -> Sequence[EditTask]:
        """Return the edits that the grammar generates."""
        recipe = self.recipe
        return edit_tasks(train=recipe.train, validation=recipe.validation, test=recipe.test, seed=recipe.seed)

    def examples(self, chosen: Sequence[EditTask]) -> Pairs:
        """Return the pictures and each task's edit of them."""
        return Pairs(inputs=self.pictures, targets=torch.stack([edited(each, self.pictures) for each in chosen]))

    def baseline_metrics(self, examples: Pairs) -> dict[str, Tensor]:
        """Return the distance of the unedited pictures from their edits."""
        inputs, targets = examples.at(torch.arange(self.train_count, examples.count))
        return {"identity": examples.losses(inputs.expand_as(targets), targets).mean(1)}


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ClassificationTasks(TaskSet):
    """Tasks that tell pictures of two classes apart."""

    recipe: ZooRecipe
    names: tuple[str, ...]
    pictures: UInt8[Tensor, "classes each 3 height width"]

    @property
    def network(self) -> ZooNetwork:
        """The ConvNeXt."""
        return CLASSIFIER

    @property
    def train_count(self) -> int:
        """Twice the training pictures of a class, as a task has two classes."""
        return 2 * self.recipe.pictures

    def tasks(self) -> Sequence[ClassTask]:
        """Return pairs of classes."""
        recipe = self.recipe
        counts = {"train": recipe.train, "validation": recipe.validation, "test": recipe.test}
        return class_tasks(self.names, **counts, seed=recipe.seed)

    def examples(self, chosen: Sequence[ClassTask]) -> Labelled:
        """Return the pictures of all classes, and which of them each task tells apart."""
        numbers = [[self.names.index(name) for name in task.classes] for task in chosen]
        return Labelled(pictures=self.pictures, classes=torch.tensor(numbers))

    def baseline_metrics(self, examples: Labelled) -> dict[str, Tensor]:
        """Return nothing: guessing is right half of the time."""
        return {}


def task_set_of(recipe: ZooRecipe, data: str) -> TaskSet:
    """Return the tasks of a recipe with the pictures of `data`."""
    if recipe.kind == "translation":
        return TranslationTasks(recipe=recipe, pictures=pictures(data, recipe.pictures + recipe.held_out))
    path = Path(data)
    if not path.exists():
        raise OptionError(f"--data {data} does not exist. Type a folder or a tar of train/<class>/*.jpg.")
    found = folder_images(path)
    each = recipe.pictures + recipe.held_out
    labels = np.asarray(found.train.labels)
    indices = [np.flatnonzero(labels == number)[:each] for number in range(len(found.classes))]
    short = next((found.classes[number] for number, own in enumerate(indices) if len(own) < each), None)
    if short is not None:
        raise OptionError(f"--data {data} has too few pictures of {short!r}; this recipe takes {each} of each class.")
    ascending = sorted(int(index) for own in indices for index in own)
    array = torch.from_numpy(decode(found.train, ascending, [(3, SIZE, SIZE)], found.name)[0])
    rank = {index: rank for rank, index in enumerate(ascending)}
    chosen = torch.stack([array[[rank[int(index)] for index in own]] for own in indices])
    return ClassificationTasks(recipe=recipe, names=found.classes, pictures=chosen)
