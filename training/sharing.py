"""Which weights a supernet shares: one for every address in a recipe's designs, as large as the largest, up to a cap.

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

from paramgen.graphs.analysis.address import HEAD, TOKEN_TABLE, Address
from paramgen.graphs.analysis.addressed_slots import AddressedSlot, Slice
from paramgen.hypernets.matching import shared_address
from paramgen.hypernets.spelled import BYTES, LETTERS, letters_address
from paramgen.hypernets.supernet import TABLE_SIDE
from paramgen.storage.folder import write_text
from training.targets import view_of_design
from training.window import Window

Tensors = dict[Address, tuple[int, ...]]


class SupernetRecipe(Enum):
    """Recipes that train a supernet."""

    VISION = "vision"
    TEXT = "text"


CAPS: Final[Mapping[str, int]] = {"conv": 112, "dw": 512, "pw": 448}
"""Most outputs, and most inputs, of what image networks share, by what it does: what fits into 12 MB in bfloat16."""


def shared_tensors(
    networks: Iterable[Mapping[str, AddressedSlot]],
    *,
    token_steps: int,
    image_steps: int,
    caps: Mapping[str, int] = CAPS,
) -> Tensors:
    """Return address and shape of every shared weight that the networks are cut from, in the order of their names."""
    largest: Tensors = {}
    slices = [(slot, part) for slots in networks for slot in slots.values() for part in slot.slices]
    for slot, part in slices:
        address = shared_address(part.address, slot.depth, token_steps=token_steps, image_steps=image_steps)
        shape = _shape(slot, part)
        known = largest.get(address, shape)
        if len(known) == len(shape):
            largest[address] = tuple(map(max, known, shape))
    return {address: _capped(address, largest[address], caps) for address in sorted(largest, key=str)}


def _shape(slot: AddressedSlot, part: Slice) -> tuple[int, ...]:
    """Return the shape of the shared weight that a slice alone would need: (out, in, ...), a vector, or a table."""
    if slot.form == "position":
        return slot.shape[-1], TABLE_SIDE, TABLE_SIDE
    if slot.form == "table":
        return BYTES if _of_tokens(part.address) else slot.shape[0], slot.shape[1]
    if slot.form == "vector":
        return (max(slot.shape) if part.stop is None else part.stop - part.start,)
    shape = slot.shape[::-1] if slot.in_out else slot.shape
    rest = shape[1:2] if shape[2:] == (1, 1) else shape[1:]
    return (shape[0] if part.stop is None else part.stop) - part.start, *rest


def _of_tokens(address: Address) -> bool:
    """Whether the weight has a row for each token."""
    return address.among_tokens and address.function in (HEAD, TOKEN_TABLE)


def _capped(address: Address, shape: tuple[int, ...], caps: Mapping[str, int]) -> tuple[int, ...]:
    if len(shape) == 1 or address.operation is None or not caps:
        return shape
    cap = caps[address.operation.rstrip("s0123456789")]
    return (min(shape[0], cap), min(shape[1], cap), *shape[2:])


def _letters(tensors: Tensors) -> Tensors:
    """Return the scales of letters of every table of tokens."""
    tables = {address: shape for address, shape in tensors.items() if _of_tokens(address)}
    return {letters_address(address): (2 * LETTERS, shape[-1]) for address, shape in tables.items()}


def _heads(width: int, classes: Iterable[int | None]) -> Tensors:
    """Return a classifier's tensors for every number of classes."""
    counts = [count for count in classes if count is not None]
    weights: Tensors = {Address(f"{HEAD}{count}"): (count, width) for count in counts}
    return weights | {Address(f"{HEAD}{count}", part="bias"): (count,) for count in counts}


def main(name: Annotated[SupernetRecipe, typer.Argument(metavar="RECIPE", help="vision or text")]) -> None:
    """Trace the designs of the recipe's first window and write what they share."""
    recipe = importlib.import_module(f"training.recipes.{name.value}")
    config = recipe.run({Address(TOKEN_TABLE): (1,)})  # of its own list nothing is known yet
    networks = [view_of_design(design).addressed_slots for design in Window(config).designs(0)]
    supernet = config.hypernet
    tensors = shared_tensors(
        networks,
        token_steps=supernet.token_steps,
        image_steps=supernet.image_steps,
        caps=CAPS if config.takes == "images" else {},
    )
    if config.takes == "images":
        tensors |= _heads(tensors[Address("head10")][1], [each.classes for each in config.datasets])
    tensors |= _letters(tensors)
    lines = ",\n".join(f" {json.dumps(str(address))}: {list(shape)}" for address, shape in tensors.items())
    write_text(recipe.TENSORS, f"{{\n{lines}\n}}\n")
    sys.stderr.write(f"{len(tensors)} tensors, {sum(map(prod, tensors.values())):,} elements: {recipe.TENSORS}\n")


if __name__ == "__main__":
    typer.run(main)
