"""What is written into a spooled file: a range of the weights file, a zip of the whole folder, or its recipe."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from paramgen.output.planning import plan_folder
from paramgen.output.write import write_prediction
from paramgen.serving.recipe_writing import recipe_of
from paramgen.storage.plan import Place
from paramgen.storage.writer import write_tensor
from serve.orders import Order
from serve.spool import Spooled, Work
from serve.workrooms import workroom

_FIXED: Final = (1980, 1, 1, 0, 0, 0)  # the same folder, the same zip


def places_in(order: Order, start: int, stop: int) -> list[Place]:
    """Return the tensors that have bytes from `start` to `stop` of the weights file, in the file's order."""
    touched = (
        place
        for place in order.plan.places.values()
        if place.offset < stop and place.offset + place.entry.nbytes > start
    )
    return sorted(touched, key=lambda place: place.offset)


def weights(order: Order, start: int, stop: int) -> Work:
    """Return the work that fills a file from `start` to `stop`."""

    def write(spooled: Spooled) -> None:
        head = order.plan.heads[order.file]
        with open(spooled.descriptor, "wb", closefd=False) as file:
            file.write(head)
        places = places_in(order, start, stop)
        ready = _Prefix(places, lambda position: spooled.advance(min(position, stop)))
        if not places:  # else the header waits for the first tensor: until then, the request can be refused
            spooled.advance(stop)
        manifest = order.prediction.architecture.manifest
        names = dict.fromkeys(manifest[place.entry.name].tied_to or place.entry.name for place in places)
        wanted = {place.entry.name: place for place in places}
        for name, tensor in order.prediction.only(list(names)) if names else ():
            spooled.watch.check()
            for alias in manifest.names_of(name):
                if alias in wanted:
                    write_tensor(spooled.descriptor, wanted[alias], tensor)
                    ready.add(alias)

    return write


class _Prefix:
    """Tracks how far a file is complete while its tensors come in any order."""

    def __init__(self, places: list[Place], advance: Callable[[int], None]) -> None:
        self._left = list(reversed(places))
        self._written: set[str] = set()
        self._advance = advance

    def add(self, name: str) -> None:
        self._written.add(name)
        position = None
        while self._left and self._left[-1].entry.name in self._written:
            place = self._left.pop()
            position = place.offset + place.entry.nbytes
        if position is not None:
            self._advance(position)


def folder_zip(order: Order, parent: Path | None) -> Work:
    """Return the work that fills a file with the zip of exactly the folder that predict writes.

    Its report holds the digest of every tensor, so nothing of the zip is known before the last one.
    """

    def write(spooled: Spooled) -> None:
        with workroom(parent) as made:
            # Not loaded by its library here: whoever unpacks it does that, by `paramgen check`.
            folder = made / "weights"
            write_prediction(plan_folder(order.prediction), folder)
            with (
                open(spooled.descriptor, "wb", closefd=False) as file,
                zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
            ):
                for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                    _add(archive, path, path.relative_to(folder).as_posix(), spooled)
        spooled.advance(spooled.size())

    return write


def recipe_text(order: Order) -> Work:
    """Return the work that fills a file with the recipe of the folder; all tensors are made for its digest."""

    def write(spooled: Spooled) -> None:
        recipe = recipe_of(plan_folder(order.prediction), progress=lambda *_: spooled.watch.check())
        with open(spooled.descriptor, "wb", closefd=False) as file:
            file.write(recipe.to_text().encode())
        spooled.advance(spooled.size())

    return write


def _add(archive: zipfile.ZipFile, path: Path, name: str, spooled: Spooled) -> None:
    entry = zipfile.ZipInfo(name, _FIXED)
    entry.external_attr = 0o644 << 16
    entry.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(entry, "w") as target:
        while piece := source.read(1 << 20):
            spooled.watch.check()
            target.write(piece)
