"""Which weights a supernet shares: the places that a recipe's designs have, as large as they have them, up to a cap.

`python -m training.sharing vision` writes the list of that recipe anew, beside the recipe; so does `text`.
"""

import importlib
import json
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from math import prod
from typing import Annotated, Final

import typer

from paramgen.graphs.analysis.places import WORDS, Piece, Place
from paramgen.hypernets.matching import shared_name
from paramgen.hypernets.spelled import BYTES, LETTERS, letters_name
from paramgen.hypernets.supernet import TABLE_SIDE
from paramgen.storage.folder import write_text
from training.targets import view_of_design
from training.window import Window


class SupernetRecipe(Enum):
    """Recipes that train a supernet."""

    VISION = "vision"
    TEXT = "text"


CAPS: Final[Mapping[str, int]] = {"conv": 112, "dw": 512, "pw": 448}
"""Most outputs, and most inputs, of what image networks share, by what it does: what fits into 12 MB in bfloat16."""


def shared_tensors(
    networks: Iterable[Mapping[str, Place]], *, token_steps: int, image_steps: int, caps: Mapping[str, int] = CAPS
) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every shared weight that the networks' places ask for, in the order of names."""
    largest: dict[str, tuple[int, ...]] = {}
    pieces = [(place, piece) for places in networks for place in places.values() for piece in place.pieces]
    for place, piece in pieces:
        name = shared_name(piece.name, place, token_steps=token_steps, image_steps=image_steps)
        shape = _shape(place, piece)
        known = largest.get(name, shape)
        if len(known) == len(shape):
            largest[name] = tuple(map(max, known, shape))
    return {name: _capped(name, shape, caps) for name, shape in sorted(largest.items())}


def _shape(place: Place, piece: Piece) -> tuple[int, ...]:
    """Return the shape of the shared weight that a piece alone would ask for: (out, in, ...), a vector, or a table."""
    if place.form == "position":
        return place.shape[-1], TABLE_SIDE, TABLE_SIDE
    if place.form == "table":
        return BYTES if piece.name.startswith(("head", WORDS)) else place.shape[0], place.shape[1]
    if place.form == "vector":
        return (max(place.shape) if piece.stop < 0 else piece.stop - piece.start,)
    shape = place.shape[::-1] if place.in_out else place.shape
    rest = shape[1:2] if shape[2:] == (1, 1) else shape[1:]
    return piece.stop - piece.start, *rest


def _capped(name: str, shape: tuple[int, ...], caps: Mapping[str, int]) -> tuple[int, ...]:
    if len(shape) == 1 or ">" not in name or not caps:
        return shape
    cap = caps[name.split(">")[1].rstrip("s0123456789")]
    return (min(shape[0], cap), min(shape[1], cap), *shape[2:])


def _letters(tensors: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the scales of letters of every table of tokens."""
    names = {name.partition("/")[0]: shape for name, shape in tensors.items() if name.startswith(("head@", WORDS))}
    return {letters_name(name): (2 * LETTERS, shape[-1]) for name, shape in names.items()}


def _heads(width: int, classes: Iterable[int | None]) -> dict[str, tuple[int, ...]]:
    """Return a classifier's tensors for every number of classes."""
    counts = [count for count in classes if count is not None]
    weights = {f"head{count}/0:weight": (count, width) for count in counts}
    return weights | {f"head{count}/0:bias": (count,) for count in counts}


def main(name: Annotated[SupernetRecipe, typer.Argument(metavar="RECIPE", help="vision or text")]) -> None:
    """Trace the designs of the recipe's first window and write what they share."""
    recipe = importlib.import_module(f"training.recipes.{name.value}")
    config = recipe.run({"nothing yet": (1,)})
    networks = [view_of_design(design).places for design in Window(config).designs(0)]
    supernet = config.hypernet
    tensors = shared_tensors(
        networks,
        token_steps=supernet.token_steps,
        image_steps=supernet.image_steps,
        caps=CAPS if config.takes == "images" else {},
    )
    if config.takes == "images":
        tensors |= _heads(tensors["head10/0:weight"][1], [each.classes for each in config.datasets])
    tensors |= _letters(tensors)
    lines = ",\n".join(f" {json.dumps(name)}: {list(shape)}" for name, shape in tensors.items())
    write_text(recipe.TENSORS, f"{{\n{lines}\n}}\n")
    sys.stderr.write(f"{len(tensors)} tensors, {sum(map(prod, tensors.values())):,} elements: {recipe.TENSORS}\n")


if __name__ == "__main__":
    typer.run(main)
