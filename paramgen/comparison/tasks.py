"""What a network learns in a comparison: to tell classes of images apart, or to continue a text."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import log, sqrt
from typing import final

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from paramgen.comparison.data.text import Tokens
from paramgen.comparison.results import TaskSummary
from paramgen.errors import OptionError
from paramgen.images.sets import Pixels

Batch = tuple[Tensor, Int64[Tensor, "..."]]
"""What the network takes, and what it should answer."""


class Task(ABC):
    """Batches, and what the network's answers to them are compared with."""

    __slots__ = ()

    @abstractmethod
    def train_batches(self, seed: int, size: int) -> Iterator[Batch]:
        """Yield batches without end; the seed alone decides their order."""

    @abstractmethod
    def validation_batches(self, size: int) -> Iterator[Batch]:
        """Yield all that learning rates are chosen on, always alike: kept back from the training data."""

    @abstractmethod
    def test_batches(self, size: int) -> Iterator[Batch]:
        """Yield all that is tested on, always alike; nothing is chosen on it."""

    @abstractmethod
    def answers(self, logits: Tensor, targets: Int64[Tensor, "..."]) -> tuple[Tensor, Tensor]:
        """Return one row of scores for each answer, and the right answers."""

    @abstractmethod
    def to(self, device: torch.device) -> "Task":
        """Return the same with its data on a device, where batches are then made."""

    @abstractmethod
    def describe(self) -> TaskSummary:
        """Return sizes, the metric, and what guessing without looking would reach."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageTask(Task):
    """Images are normalized on the device where they lie; nothing else is done to them."""

    train: Pixels
    validation: Pixels
    test: Pixels
    classes: tuple[str, ...]
    mean: tuple[float, ...]  # by channel, of values from 0 to 1
    std: tuple[float, ...]

    def train_batches(self, seed: int, size: int) -> Iterator[Batch]:
        """Yield shuffled epochs, one after the other, in batches of equal size."""
        for chosen in _epochs(len(self.train.labels), size, seed):
            index = chosen.to(self.train.pixels.device)
            yield self.normalized(self.train.pixels[index]), self.train.labels[index]

    def validation_batches(self, size: int) -> Iterator[Batch]:
        """Yield the validation images in their order."""
        return self._in_order(self.validation, size)

    def test_batches(self, size: int) -> Iterator[Batch]:
        """Yield the test images in their order."""
        return self._in_order(self.test, size)

    def answers(self, logits: Tensor, targets: Int64[Tensor, "..."]) -> tuple[Tensor, Tensor]:
        """An image is one answer."""
        return logits.float(), targets

    def to(self, device: torch.device) -> "ImageTask":
        """The images are moved as bytes."""
        train, validation, test = (
            Pixels(pixels=part.pixels.to(device), labels=part.labels.to(device))
            for part in (self.train, self.validation, self.test)
        )
        return replace(self, train=train, validation=validation, test=test)

    def describe(self) -> TaskSummary:
        """Guessing is naming the most frequent class of the training images."""
        frequent = int(torch.bincount(self.train.labels, minlength=len(self.classes)).argmax())
        count = len(self.test.labels)
        chance = float((self.test.labels == frequent).sum()) / count
        return TaskSummary(
            metric="accuracy",
            chance=chance,
            # Two standard errors of a share: as far as luck carries a network that guesses.
            at_chance_up_to=chance + 2 * sqrt(chance * (1 - chance) / count),
            unit="image",
            train=len(self.train.labels),
            validation=len(self.validation.labels),
            test=count,
            classes=len(self.classes),
            shape=tuple(self.train.pixels.shape[1:]),
            mean=tuple(round(value, 4) for value in self.mean),
            std=tuple(round(value, 4) for value in self.std),
        )

    def _in_order(self, part: Pixels, size: int) -> Iterator[Batch]:
        for pixels, labels in zip(part.pixels.split(size), part.labels.split(size), strict=True):
            yield self.normalized(pixels), labels

    def normalized(self, pixels: UInt8[Tensor, "batch channels height width"]) -> Float[Tensor, "..."]:
        """Return images as the network takes them."""
        mean = torch.tensor(self.mean, device=pixels.device).view(-1, 1, 1) * 255
        std = torch.tensor(self.std, device=pixels.device).view(-1, 1, 1) * 255
        return pixels.float().sub_(mean).div_(std)


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextTask(Task):
    """Every token of a window is to be predicted from those before it."""

    tokens: Tokens
    length: int
    windows: int  # at most, to test on

    def __post_init__(self) -> None:
        tokens = self.tokens
        for which, part in (("training", tokens.train), ("validation", tokens.validation), ("test", tokens.test)):
            if len(part) <= self.length:
                raise OptionError(
                    f"The {which} text has {len(part)} {tokens.unit}s; a window has {self.length}. Give a longer "
                    f"text, or type: --length {max(2, len(part) // 2)}"
                )

    def train_batches(self, seed: int, size: int) -> Iterator[Batch]:
        """Yield windows from random positions."""
        generator = torch.Generator().manual_seed(seed)
        offsets = torch.arange(self.length)
        while True:
            firsts = torch.randint(len(self.tokens.train) - self.length + 1, (size, 1), generator=generator)
            windows = self.tokens.train[(firsts + offsets).to(self.tokens.train.device)]
            yield windows, windows[:, 1:]

    def validation_batches(self, size: int) -> Iterator[Batch]:
        """Yield windows side by side of the text that learning rates are chosen on."""
        return self._side_by_side(self.tokens.validation, size)

    def test_batches(self, size: int) -> Iterator[Batch]:
        """Yield windows side by side, from all over the text where there are more than are tested on."""
        return self._side_by_side(self.tokens.test, size)

    def answers(self, logits: Tensor, targets: Int64[Tensor, "..."]) -> tuple[Tensor, Tensor]:
        """Every token but a window's first is an answer."""
        return logits[:, :-1].flatten(0, 1).float(), targets.flatten()

    def to(self, device: torch.device) -> "TextTask":
        """The whole text is moved."""
        train, validation, test = (
            part.to(device) for part in (self.tokens.train, self.tokens.validation, self.tokens.test)
        )
        return replace(self, tokens=replace(self.tokens, train=train, validation=validation, test=test))

    def describe(self) -> TaskSummary:
        """Guessing is knowing how frequent each token is (add-one smoothed), and nothing of what came before."""
        counts = torch.bincount(self.tokens.train, minlength=self.tokens.vocabulary).double() + 1
        guess = float(-(counts / counts.sum()).log()[self.tokens.test].mean())
        return TaskSummary(
            metric="perplexity",
            chance=guess,
            at_chance_up_to=guess,
            unit=self.tokens.unit,
            train=len(self.tokens.train),
            validation=sum(windows.numel() for windows, _ in self.validation_batches(1024)),
            test=sum(windows.numel() for windows, _ in self.test_batches(1024)),
            uniform=log(self.tokens.vocabulary),
            vocabulary=self.tokens.vocabulary,
            length=self.length,
            bytes_per_token=self.tokens.bytes_per_token,
        )

    def _side_by_side(self, part: Int64[Tensor, " _"], size: int) -> Iterator[Batch]:
        every = part[: len(part) // self.length * self.length].view(-1, self.length)
        chosen = every[:: max(1, len(every) // self.windows)][: self.windows]
        for windows in chosen.split(size):
            yield windows, windows[:, 1:]


def _epochs(count: int, size: int, seed: int) -> Iterator[Int64[Tensor, " batch"]]:
    """Yield batches of exactly `size` indices; an epoch's rest is the beginning of the next batch."""
    generator = torch.Generator().manual_seed(seed)
    rest = torch.empty(0, dtype=torch.int64)
    while True:
        while len(rest) < size:
            rest = torch.cat([rest, torch.randperm(count, generator=generator)])
        yield rest[:size]
        rest = rest[size:]
