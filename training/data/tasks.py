"""The data of a run: where the command line says it is, checked against what the recipe asks for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from paramgen.errors import OptionError
from training.config import Part, Task
from training.data.images import Images, Split, load_set
from training.data.texts import Texts, load_texts, masked
from training.spaces.design import RESOLUTIONS, Design


@final
@dataclass(frozen=True, slots=True, eq=False)
class TaskData:
    """One task's images at every resolution of the spaces, or its texts at every length."""

    name: str
    classes: int
    examples: Mapping[tuple[Split, int], Images] | Mapping[tuple[Split, int], Texts]
    spelling: Tensor | None = None  # of a text's tokens

    def drawn(self, design: Design, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return a batch from random places of the training split, as the design learns from it."""
        return self._posed(design, self.examples["train", design.resolution].draw(size, generator), generator)

    def judged(self, design: Design, size: int, *, limit: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of the test split, at most `limit` examples, the same ones each time."""
        generator = torch.Generator().manual_seed(0)
        for batch in self.examples["test", design.resolution].batches(size, limit=limit):
            yield self._posed(design, batch, generator)

    def _posed(self, design: Design, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return masked(batch[0], self.spelling, generator) if design.hides and self.spelling is not None else batch


def places(given: Sequence[str], tasks: Sequence[Task]) -> dict[str, Path]:
    """Return each task's path, from `NAME=PATH`, or from one bare path where there is one task."""
    names = [task.name for task in tasks]
    typed = " ".join(f"--data {name}=PATH" for name in names)
    if len(names) == len(given) == 1 and ("=" not in given[0] or Path(given[0]).exists()):
        return {names[0]: Path(given[0])}
    pairs = [text.partition("=")[::2] for text in given]
    if sorted(name for name, _ in pairs) != sorted(names) or not all(path for _, path in pairs):
        raise OptionError(f"--data gives {', '.join(given) or 'nothing'}; this recipe needs: {typed}")
    return {name: Path(path) for name, path in pairs}


def load_task(
    task: Task, source: Path, cache: Path, device: torch.device, *, lengths: tuple[int, ...] = ()
) -> TaskData:
    """Read a task's images onto the device, or, where `lengths` of windows are given, its texts."""
    if lengths:
        if task.classes is None:
            raise OptionError(f"The recipe's {task.name} needs the size of its vocabulary as `classes`.")
        texts, spelling = load_texts(source, task.classes, lengths)
        placed = {key: split.to(device) for key, split in texts.items()}
        return TaskData(task.name, task.classes, placed, spelling.to(device))
    images = {key: part_of(split, task.part) for key, split in load_set(source, RESOLUTIONS, cache).items()}
    classes = len(next(iter(images.values())).classes)
    if task.classes not in (None, classes):
        raise OptionError(f"--data {source} has {classes} classes; the recipe's {task.name} has {task.classes}.")
    return TaskData(task.name, classes, {key: split.to(device) for key, split in images.items()})


def part_of(images: Images, part: Part) -> Images:
    """Return the images of every other class, numbered anew; of all classes, what was given."""
    if part == "all":
        return images
    first = 0 if part == "even" else 1
    chosen = images.labels % 2 == first
    return Images(images.pixels[chosen], images.labels[chosen] // 2, images.classes[first::2])
