"""Data sets of torchvision and of Hugging Face datasets, by their names there or from a folder."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paramgen._optional import require
from paramgen._optional.torchvision import ensure_torchvision
from paramgen.comparison.data.text import TEST, TextSet, held_out
from paramgen.errors import OptionError, UnknownNameError, one_line
from paramgen.images.sets import ImageSet, Split

_SEED = 0
_HELD_OUT = 5  # every fifth example of a shuffled set without a test split


def torchvision_images(name: str, options: Mapping[str, Any]) -> ImageSet:
    """Return a set of `torchvision.datasets`; `options` are its constructor's arguments, such as root and download."""
    ensure_torchvision()
    module = require("torchvision.datasets", extra="torchvision")
    kinds = {kind: getattr(module, kind) for kind in module.__all__}
    if name not in kinds:
        raise UnknownNameError.of("set of torchvision", name, kinds, "Type: --data torchvision:CIFAR10?root=DIR")
    spec = f"torchvision:{name}"
    parameters = inspect.signature(kinds[name]).parameters
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    if "train" in parameters:
        choices: list[dict[str, Any]] = [{"train": True}, {"train": False}]
    elif "split" in parameters and "split" not in given:
        choices = [{"split": "train"}, {"split": "val" if name in ("ImageNet", "Imagenette") else "test"}]
    else:
        choices = [{}]
    try:
        parts = [kinds[name](**given, **choice) for choice in choices]
        labels = [_torchvision_labels(part) for part in parts]
    except Exception as error:  # every set checks its own files, in its own way
        raise OptionError(
            f"--data {spec} cannot be read: {type(error).__name__}: {one_line(error)} Type: --data "
            f"'{spec}?root=DIR', with &download=true to fetch it"
        ) from error
    names = getattr(parts[0], "classes", None) or [str(label) for label in range(max(labels[0], default=-1) + 1)]
    classes = tuple(str(each) for each in names)
    identity = f"{spec}?{sorted(given.items())}#{[len(part) for part in labels]}"
    return _image_set(spec, classes, [(part, own) for part, own in zip(parts, labels, strict=True)], identity)


def _torchvision_labels(part: Any) -> list[int]:
    for attribute in ("targets", "labels", "_labels"):
        found = getattr(part, attribute, None)
        if found is not None and len(found) == len(part):
            return [int(label) for label in found]
    return [int(part[index][1]) for index in range(len(part))]


def datasets_data(name: str, options: Mapping[str, Any]) -> ImageSet | TextSet:
    """Return a set of Hugging Face datasets: a Hub name, or a folder that `save_to_disk` or the Hub's layout made.

    `options`: `config`, and `image`, `label` or `text` to name the columns where there are several.
    """
    datasets = require("datasets", extra="datasets")
    spec = f"datasets:{name}"
    unknown = sorted(set(options) - {"config", "image", "label", "text"})
    if unknown:
        raise UnknownNameError.of(f"option of {spec}", unknown[0], ("config", "image", "label", "text"))
    try:
        saved = (Path(name) / "dataset_dict.json").is_file() or (Path(name) / "state.json").is_file()
        found = datasets.load_from_disk(name) if saved else datasets.load_dataset(name, options.get("config"))
    except Exception as error:  # a hundred loaders, and the network
        raise OptionError(
            f"--data {spec} cannot be read: {type(error).__name__}: {one_line(error)} Give a Hub name or a folder."
        ) from error
    splits = dict(found) if isinstance(found, dict) else {"train": found}
    if "train" not in splits:
        raise OptionError(f"--data {spec} has no split 'train', only {', '.join(splits)}.")
    testing = next((splits[split] for split in TEST if split in splits), None)
    parts = [splits["train"]] + ([] if testing is None else [testing])
    features = parts[0].features
    image = _column(spec, features, options, "image", datasets.Image)
    if image is None:
        return _datasets_text(spec, parts, options)
    label = _column(spec, features, options, "label", datasets.ClassLabel)
    if label is None:
        raise OptionError(f"--data {spec} has no column of classes. Columns: {', '.join(features)}.")
    columns = [(part.select_columns([image]), [int(value) for value in part[label]]) for part in parts]
    pairs = [(_Column(part, image), labels) for part, labels in columns]
    identity = f"{spec}#{[part._fingerprint for part in parts]}"
    return _image_set(spec, tuple(features[label].names), pairs, identity)


class _Column:
    """Rows of one column, each as a tuple."""

    def __init__(self, rows: Any, name: str) -> None:
        self._rows = rows
        self._name = name

    def __getitem__(self, index: int) -> tuple[Any]:
        return (self._rows[index][self._name],)


def _column(spec: str, features: Any, options: Mapping[str, Any], kind: str, feature: Any) -> str | None:
    """Return the column the user names, or the first one of the right kind."""
    if kind in options:
        if options[kind] not in features:
            raise UnknownNameError.of(f"column of {spec}", str(options[kind]), features)
        return str(options[kind])
    return next((name for name, value in features.items() if isinstance(value, feature)), None)


def _datasets_text(spec: str, parts: Sequence[Any], options: Mapping[str, Any]) -> TextSet:
    features = parts[0].features
    strings = [name for name, value in features.items() if getattr(value, "dtype", None) in ("string", "large_string")]
    column = str(options.get("text", "text" if "text" in strings else strings[0] if strings else ""))
    if column not in strings:
        raise OptionError(f"--data {spec} has neither images nor text. Columns: {', '.join(features)}.")
    texts = ["\n".join(part[column]) for part in parts]
    return TextSet(name=spec, train=texts[0], test=texts[1]) if len(texts) > 1 else held_out(spec, texts)


def _image_set(spec: str, classes: tuple[str, ...], parts: Sequence[tuple[Any, list[int]]], identity: str) -> ImageSet:
    """Return both splits; every fifth image of a fixed shuffle is held out where there is but one."""
    notes: tuple[str, ...] = ()
    # A label of -1 says that the set's authors keep it to themselves.
    indices = [[index for index, label in enumerate(labels) if label >= 0] for _, labels in parts]
    if len(parts) == 1:
        import torch

        shuffle = torch.randperm(len(indices[0]), generator=torch.Generator().manual_seed(_SEED)).tolist()
        order = [indices[0][position] for position in shuffle]
        indices = [sorted(order[len(order) // _HELD_OUT :]), sorted(order[: len(order) // _HELD_OUT])]
        parts = [parts[0], parts[0]]
        notes = ("There is no test split, so a fifth of the images was held out, by a fixed seed.",)
    train, test = (_split(spec, part, labels, own) for (part, labels), own in zip(parts, indices, strict=True))
    return ImageSet(name=spec, classes=classes, train=train, test=test, identity=identity, notes=notes)


def _split(spec: str, part: Any, labels: list[int], indices: list[int]) -> Split:
    def read(chosen: Sequence[int]) -> Iterator[tuple[str, Any]]:
        for index in chosen:
            name = f"{spec}, image {indices[index]}"
            try:
                picture = part[indices[index]][0]
            except Exception as error:  # the library decodes it, and each of its readers fails in its own way
                raise OptionError(
                    f"{name} cannot be read ({type(error).__name__}: {one_line(error)}). Remove it or mend it."
                ) from error
            yield name, picture

    return Split(labels=[labels[index] for index in indices], read=read)
