"""The data sets of a run: their paths from the command line, checked against the recipe."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from paramgen.errors import OptionError
from training.config import ClassSubset, DatasetConfig
from training.data.images import Images, Split, load_set
from training.data.texts import Texts, load_texts, masked
from training.spaces.design import RESOLUTIONS, Design


@final
@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A data set's images at every resolution of the spaces, or its texts at every length."""

    name: str
    classes: int
    examples: Mapping[tuple[Split, int], Images] | Mapping[tuple[Split, int], Texts]
    spelling: Tensor | None = None  # of a text's tokens

    def train_batch(self, design: Design, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return a random batch of the training split, with masked tokens where the design needs them."""
        return self._posed(design, self.examples["train", design.resolution].draw(size, generator), generator)

    def test_batches(self, design: Design, size: int, *, limit: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of the test split, at most `limit` examples, the same ones each time."""
        generator = torch.Generator().manual_seed(0)
        for batch in self.examples["test", design.resolution].batches(size, limit=limit):
            yield self._posed(design, batch, generator)

    def _posed(self, design: Design, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return masked(batch[0], self.spelling, generator) if design.hides and self.spelling is not None else batch


def dataset_paths(given: Sequence[str], configs: Sequence[DatasetConfig]) -> dict[str, Path]:
    """Return each data set's path, from `NAME=PATH`, or from one bare path where there is one data set."""
    names = [config.name for config in configs]
    typed = " ".join(f"--data {name}=PATH" for name in names)
    if len(names) == len(given) == 1 and ("=" not in given[0] or Path(given[0]).exists()):
        return {names[0]: Path(given[0])}
    pairs = [text.partition("=")[::2] for text in given]
    if sorted(name for name, _ in pairs) != sorted(names) or not all(path for _, path in pairs):
        raise OptionError(f"--data gives {', '.join(given) or 'nothing'}; this recipe needs: {typed}")
    return {name: Path(path) for name, path in pairs}


def load_dataset(
    config: DatasetConfig, source: Path, cache: Path, device: torch.device, *, lengths: tuple[int, ...] = ()
) -> Dataset:
    """Read a data set's images onto the device, or, where `lengths` of windows are given, its texts."""
    if lengths:
        if config.classes is None:
            raise OptionError(f"The recipe's {config.name} needs the size of its vocabulary as `classes`.")
        texts, spelling = load_texts(source, config.classes, lengths)
        placed = {key: split.to(device) for key, split in texts.items()}
        return Dataset(config.name, config.classes, placed, spelling.to(device))
    images = {key: subset_of(split, config.subset) for key, split in load_set(source, RESOLUTIONS, cache).items()}
    classes = len(next(iter(images.values())).classes)
    if config.classes not in (None, classes):
        raise OptionError(f"--data {source} has {classes} classes; the recipe's {config.name} has {config.classes}.")
    return Dataset(config.name, classes, {key: split.to(device) for key, split in images.items()})


def subset_of(images: Images, subset: ClassSubset) -> Images:
    """Return the images of every other class, numbered anew; of all classes, what was given."""
    if subset == "all":
        return images
    first = 0 if subset == "even" else 1
    chosen = images.labels % 2 == first
    return Images(images.pixels[chosen], images.labels[chosen] // 2, images.classes[first::2])
