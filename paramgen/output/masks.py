"""The file masks.safetensors of a folder, eight entries in a byte: written, and read again."""

from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from paramgen.errors import CheckError, one_line
from paramgen.modifiers.constraints import refuse_held
from paramgen.modifiers.masking.holding import Masking
from paramgen.modifiers.masking.masks import packed, unpacked
from paramgen.slots.manifest import state_of
from paramgen.storage.reading import stored

MASKS: Final = "masks.safetensors"
_KINDS: Final = ("pruned", "frozen")


def write_masks(masking: Masking, folder: Path) -> None:
    """Write the masks of a prediction."""
    bits = {name: packed(mask) for name, mask in masking.masks.items()}
    content = save(bits, metadata={"kind": masking.kind})  # one entry: several come in any order
    (folder / MASKS).write_bytes(content)  # save_file would let the owner alone read it


def masks_record(masking: Masking) -> dict[str, Any]:
    """Return what the record says of masks: what becomes of other entries, and how many each tensor keeps."""
    kept = {name: int(mask.sum()) for name, mask in masking.masks.items()}
    return {"file": MASKS, "kind": masking.kind, "kept": masking.kept, "of": masking.whole, "by_tensor": kept}


def masking_in(folder: Path, module: nn.Module) -> Masking:
    """Return the masks of a folder for a module of its architecture.

    Raises:
        CheckError: The folder has no masks, its file is not one that paramgen writes, or does not fit the module.
        OptionError: The module is constrained already.

    """
    file = folder / MASKS
    if not file.is_file():
        raise CheckError(
            f"There is no {MASKS} in {str(folder)!r}. Make one: paramgen predict --arch NAME --then prune --out FOLDER"
        )
    entries = {entry.name: entry for entry in stored(file)}
    with safe_open(file, framework="pt") as opened:
        kind = (opened.metadata() or {}).get("kind")
    if kind not in _KINDS:
        raise CheckError(f"{file} has masks of the kind {one_line(repr(kind))}; known are {' and '.join(_KINDS)}.")
    refuse_held(module)
    state = state_of(module)
    masks: dict[str, Tensor] = {}
    for name, entry in entries.items():
        weight = state.get(name)
        if weight is None or entry.dtype != torch.uint8 or entry.shape != (-(-weight.numel() // 8),):
            has = "no such parameter" if weight is None else f"{tuple(weight.shape)} there"
            raise CheckError(
                f"{file} does not fit the module at {one_line(name)!r}: it has {has}. Give its own module."
            )
        masks[name] = unpacked(entry.tensor(), tuple(weight.shape))
    return Masking(kind=kind, masks=masks)
