"""Data to compare on: images of classes, or text. Read once, kept as one array of bytes.

`open_data` says what is there and refuses what cannot be used; nothing is decoded before an architecture has said what
size of picture it takes.
"""

from pathlib import Path

from paramgen.comparison.data.libraries import datasets_data, torchvision_images
from paramgen.comparison.data.text import TextSet, folder_text
from paramgen.errors import OptionError
from paramgen.images.folders import folder_images, has_images
from paramgen.images.sets import ImageSet
from paramgen.registry.overrides import split_spec
from paramgen.storage.regular import refuse_irregular

DATA_ADVICE = (
    "Type: --data FOLDER_OF_CLASS_FOLDERS (or a .tar of it), a text file, torchvision:CIFAR10?root=DIR, or "
    "datasets:NAME_OR_PATH"
)


def open_data(spec: str) -> ImageSet | TextSet:
    """Return what `spec` names: a folder, a tar, a text file, `torchvision:NAME?option=value`, `datasets:NAME`."""
    kind, colon, rest = spec.partition(":")
    if colon and kind in ("torchvision", "datasets") and not Path(spec).exists():
        name, options = split_spec(rest)
        if not name:
            raise OptionError(f"--data {spec!r} names no data. {DATA_ADVICE}")
        return torchvision_images(name, options) if kind == "torchvision" else datasets_data(name, options)
    path = Path(spec)
    if not path.exists():
        raise OptionError(f"--data {spec!r} does not exist. {DATA_ADVICE}")
    refuse_irregular(path, OptionError, DATA_ADVICE)
    if has_images(path):
        return folder_images(path)
    return folder_text(path)
