"""The file shared.safetensors of a folder: a memory, sizes of layers and a seed, of which all weights are made."""

import json
from math import prod
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import save

from paramgen.errors import CheckError
from paramgen.modifiers.sharing.layout import Layout
from paramgen.modifiers.sharing.memory import SharedMemory
from paramgen.storage.reading import stored

SHARED: Final = "shared.safetensors"
MAX_LAYOUT: Final = 16 << 20  # characters of the names and shapes of all weights
MAX_DIMENSIONS: Final = 8
MAX_WEIGHTS: Final = 2**40


def write_shared(shared: SharedMemory, folder: Path) -> None:
    """Write the memory, and what the map follows from; nothing is stored for each weight."""
    layout = {
        "seed": shared.layout.seed,
        "chunk": shared.layout.chunk,
        "shapes": {name: list(shape) for name, shape in shared.layout.shapes.items()},
    }
    tensors = {"memory": shared.memory, "scales": shared.scales}
    content = save(tensors, metadata={"layout": json.dumps(layout)})  # one entry: several come in any order
    (folder / SHARED).write_bytes(content)  # save_file would let the owner alone read it


def shared_record(shared: SharedMemory) -> dict[str, Any]:
    """Return what the record says: how many numbers there are, and how many weights they make."""
    layout = shared.layout
    return {
        "file": SHARED,
        "numbers": layout.entries,
        "of": layout.weights,
        "seed": layout.seed,
        "chunk": layout.chunk,
        "tensors": len(layout.shapes),
    }


def memory_in(folder: Path) -> SharedMemory:
    """Return the memory of a folder.

    Raises:
        CheckError: The folder has none, or its file is not one that paramgen writes.

    """
    file = folder / SHARED
    if not file.is_file():
        raise CheckError(
            f"There is no {SHARED} in {str(folder)!r}. Make one: paramgen predict --arch NAME --then share --out FOLDER"
        )
    entries = {entry.name: (entry.dtype, len(entry.shape)) for entry in stored(file)}
    if entries != {"memory": (torch.float32, 1), "scales": (torch.float64, 1)}:
        raise CheckError(f"{file} does not hold a memory and the sizes of layers. {_AGAIN}")
    with safe_open(file, framework="pt") as opened:
        memory, scales = opened.get_tensor("memory"), opened.get_tensor("scales")
        layout = _layout((opened.metadata() or {}).get("layout", ""), len(memory), file)
    if len(scales) != len(layout.shapes):
        raise CheckError(f"{file} has {len(layout.shapes)} layers and the sizes of {len(scales)}. {_AGAIN}")
    if not bool(memory.isfinite().all()) or not bool((scales.isfinite() & (scales > 0)).all()):
        raise CheckError(f"{file} holds numbers that are not finite, or sizes that are not positive. {_AGAIN}")
    return SharedMemory(layout=layout, memory=memory, scales=scales)


_AGAIN: Final = "Get it again, or type: paramgen predict --then share"


def _layout(text: str, entries: int, file: Path) -> Layout:
    """Read a layout that anybody may have written."""
    try:
        found = json.loads(text if len(text) <= MAX_LAYOUT else "")
        seed, chunk, shapes = found["seed"], found["chunk"], found["shapes"]
        numbers = [seed, chunk, *(size for shape in shapes.values() for size in shape)]
        depth = max(len(shape) for shape in shapes.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckError(f"{file} does not say which weights share its numbers. {_AGAIN}") from error
    if any(type(number) is not int or not 0 <= number < 2**63 for number in numbers) or depth > MAX_DIMENSIONS:
        raise CheckError(f"{file} has a layout with something else than whole numbers. {_AGAIN}")
    weights = sum(prod(shape) for shape in shapes.values())
    if not chunk or not entries or entries % chunk or not entries - chunk < weights <= MAX_WEIGHTS:
        raise CheckError(
            f"{file} has {entries:,} numbers in chunks of {chunk:,} for {weights:,} weights, which is none of its "
            f"layouts. {_AGAIN}"
        )
    return Layout(seed=seed, entries=entries, chunk=chunk, shapes={name: tuple(each) for name, each in shapes.items()})
