"""The data of a comparison as each architecture takes it: pictures of its size, or windows of its length."""

import hashlib
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from paramgen.comparison.data import open_data
from paramgen.comparison.data.text import TextSet, Tokens, tokenized
from paramgen.comparison.models import ModelUnderTest
from paramgen.comparison.outcome import DataSummary
from paramgen.comparison.protocol import LENGTH, Protocol
from paramgen.comparison.tasks import ImageTask, Task, TextTask
from paramgen.errors import OptionError
from paramgen.images.pictures import ready, size_of
from paramgen.images.sets import ImageSet, Pixels, decoded, keep, kept_at, resized
from paramgen.initializers import Initializer
from paramgen.storage.folder import transaction

Data = str | Path | ImageSet | TextSet | tuple[Pixels, Pixels]

_LENGTHS = ("max_position_embeddings", "n_positions")
TRAINED = "trained on the text"
VALIDATION = 0.2  # share of the images to learn from that learning rates are chosen on
_SAMPLE = 4096  # images whose channels are measured


@final
class DataModule:
    """Opens the data, decodes each size once, and writes what was decoded only in `keep`."""

    def __init__(
        self,
        data: Data,
        protocol: Protocol,
        *,
        tokenizer: str | None,
        cache: Path | None,
        vocabulary: int | None = None,
        typed: int | None = None,
    ) -> None:
        self.protocol = protocol
        self._opened = open_data(str(data)) if isinstance(data, (str, Path)) else data
        self._cache = cache
        self._sizes: dict[tuple[int, int, int], tuple[Pixels, Pixels]] = {}
        self._tokens: Tokens | None = None
        if isinstance(self._opened, TextSet):
            vocabulary = vocabulary or (typed if tokenizer is None else None)
            self._tokens = tokenized(self._opened, tokenizer, vocabulary)
        elif tokenizer is not None:
            raise OptionError("--tokenizer is for a text; the data are images.")
        elif vocabulary is not None:
            raise OptionError("--vocabulary is for a text; the data are images.")
        self._tokenizer = tokenizer
        self._trained = vocabulary is not None

    @property
    def kind(self) -> str:
        """`images` or `text`."""
        return "images" if self._tokens is None else "text"

    def resolved(self, initializer: Initializer) -> Initializer:
        """Return the initializer for networks that read these data: it may depend on how their tokens are spelled."""
        reader = None if self._tokens is None else self._tokens.tokenizer
        return initializer if reader is None else initializer.with_tokenizer(self._tokenizer or TRAINED, reader)

    def describe(self) -> DataSummary:
        """Return the data's name, hash, classes, and what a reader should know about how they were divided."""
        opened = None if isinstance(self._opened, tuple) else self._opened
        return DataSummary(
            name="arrays" if opened is None else opened.name,
            sha256=self.identity,
            classes=None if self.kind == "text" else self._classes,
            notes=(*(() if opened is None else opened.notes), *self._tokenizer_notes),
        )

    @property
    def _tokenizer_notes(self) -> list[str]:
        if not self._trained:
            return []
        return [f"A byte-level BPE tokenizer of {self.answers:,} tokens was trained on the text to learn from."]

    @property
    def answers(self) -> int:
        """Number of classes, or of different tokens."""
        return self._tokens.vocabulary if self._tokens is not None else len(self._classes)

    @property
    def _classes(self) -> tuple[str, ...]:
        if isinstance(self._opened, ImageSet):
            return self._opened.classes
        assert isinstance(self._opened, tuple)
        return tuple(str(label) for label in range(int(self._opened[0].labels.max()) + 1))

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the first image to learn from; None where the data are a text."""
        if isinstance(self._opened, TextSet):
            return None
        if isinstance(self._opened, tuple):
            height, width = self._opened[0].pixels.shape[2:]
            return int(height), int(width)
        ready()
        name, image = next(self._opened.train.read([0]))
        return size_of(image, name)

    @property
    def identity(self) -> str:
        """A hash of the decoded content."""
        if isinstance(self._opened, TextSet):
            assert self._tokens is not None
            return f"{self._opened.identity[:16]} ({self._tokens.vocabulary} {self._tokens.unit}s)"
        digest = hashlib.sha256()
        for shape in sorted(self._sizes):
            for part in self._sizes[shape]:
                digest.update(part.pixels.numpy())  # type: ignore[arg-type]
                digest.update(part.labels.numpy())  # type: ignore[arg-type]
        return digest.hexdigest()[:16]

    def task(self, model: ModelUnderTest) -> Task:
        """Return what the architecture is to learn."""
        if self._tokens is not None:
            return TextTask(tokens=self._tokens, length=self._length(model), windows=self.protocol.test_examples)
        channels, height, width = model.example.shape[1:]
        if channels not in (1, 3):
            raise OptionError(f"{model.name} takes {channels} channels; images have 3, or 1 where they are grey.")
        learned_from, test = self._pixels((int(channels), int(height), int(width)))
        train, validation = _divided(learned_from, most=self.protocol.test_examples)
        mean, std = _normalization(model, train.pixels)
        return ImageTask(train=train, validation=validation, test=test, classes=self._classes, mean=mean, std=std)

    def keep(self, out: Path | None) -> None:
        """Keep decoded images in the cache and a trained tokenizer in `out`: a model that is kept needs it."""
        for shape, pixels in self._sizes.items():
            folder = self._folder(shape)
            if folder is not None:
                keep(folder, *pixels)
        if out is not None:
            self.keep_tokenizer(out / "tokenizer")

    def keep_tokenizer(self, folder: Path) -> None:
        """Write a tokenizer that was trained for this comparison, if there is one."""
        if self._trained and self._tokens is not None and not folder.exists():
            with transaction(folder) as partial:
                self._tokens.tokenizer.save_pretrained(partial)

    def _pixels(self, shape: tuple[int, int, int]) -> tuple[Pixels, Pixels]:
        if shape not in self._sizes:
            if isinstance(self._opened, ImageSet):
                folder = self._folder(shape)
                self._sizes[shape] = decoded(self._opened, shape, **self._limits(), folder=folder)
            else:
                assert isinstance(self._opened, tuple)
                limits = self._limits().values()
                parts = [_first(part, count) for part, count in zip(self._opened, limits, strict=True)]
                self._sizes[shape] = resized(parts[0], shape), resized(parts[1], shape)
        return self._sizes[shape]

    def _limits(self) -> dict[str, int]:
        """Return how many images are decoded: no run sees more than its batches hold."""
        train = min(self.protocol.train_examples, max(self.protocol.steps * self.protocol.batch, 1000))
        return {"train": train, "test": self.protocol.test_examples}

    def _folder(self, shape: tuple[int, int, int]) -> Path | None:
        if self._cache is None or not isinstance(self._opened, ImageSet):
            return None
        return kept_at(self._opened, shape, **self._limits(), cache=self._cache)

    def _length(self, model: ModelUnderTest) -> int:
        """Return the length of a window: what was requested, or what the architecture takes if nothing was."""
        config, requested = getattr(model.template, "config", None), self.protocol.length
        most = next((value for name in _LENGTHS if isinstance(value := getattr(config, name, None), int)), None)
        if most is not None and requested is not None and requested > most:
            raise OptionError(
                f"--length is {requested}, but {model.name} has {most} positions. Type: --length {most}, or --set "
                f"{next(name for name in reversed(_LENGTHS) if hasattr(config, name))}={requested}"
            )
        if most is None:
            most = int(model.example.shape[1])
            if most < (requested or LENGTH):
                model.notes.append(
                    f"{model.name} is shown {most} tokens at a time, as in its example input; type --example-input "
                    f"2x{requested or LENGTH}:long if it takes more."
                )
        return min(requested or LENGTH, most)


def _first(given: Pixels, count: int) -> Pixels:
    if len(given.labels) <= count:
        return given
    return _chosen(given, torch.randperm(len(given.labels), generator=torch.Generator().manual_seed(0))[:count])


def _divided(given: Pixels, *, most: int) -> tuple[Pixels, Pixels]:
    """Keep a fifth of the images to learn from, but no more than `most`, for choosing learning rates."""
    count = len(given.labels)
    if count < 2:
        raise OptionError(f"There are {count} images to learn from; one more is needed to choose learning rates on.")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1))
    cut = max(1, min(most, round(VALIDATION * count)))
    return _chosen(given, order[cut:]), _chosen(given, order[:cut])


def _chosen(given: Pixels, indices: Tensor) -> Pixels:
    chosen = indices.sort().values
    return Pixels(pixels=given.pixels[chosen], labels=given.labels[chosen])


def _normalization(model: ModelUnderTest, pixels: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return what timm says of the architecture, or else mean and std of the training images' channels."""
    config: Any = getattr(model.template, "pretrained_cfg", None) or {}
    mean, std = config.get("mean"), config.get("std")
    if mean is not None and std is not None and len(mean) == len(std) == pixels.shape[1]:
        return tuple(mean), tuple(std)
    sample = pixels[:: max(1, len(pixels) // _SAMPLE)].double().div_(255).transpose(0, 1).flatten(1)
    measured = sample.std(1).clamp_min(1e-3)  # images of one colour
    return tuple(sample.mean(1).tolist()), tuple(measured.tolist())
