"""The file masks.safetensors of a folder, eight entries in a byte, and its constraints on a module that is trained."""

from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from paramgen.errors import CheckError, OptionError, one_line
from paramgen.initializers import Masks
from paramgen.modifiers.masking.holding import hold, refuse_held
from paramgen.modifiers.masking.masks import packed, unpacked
from paramgen.prediction import Prediction
from paramgen.slots.manifest import state_of
from paramgen.storage.reading import stored

MASKS: Final = "masks.safetensors"
_KINDS: Final = ("pruned", "frozen")


def write_masks(masks: Masks, folder: Path) -> None:
    """Write the masks of a prediction, all tensors of which were computed."""
    kind, found = masks
    bits = {name: packed(mask) for name, mask in found.items()}
    save_file(bits, folder / MASKS, metadata={"kind": kind})  # one entry: safetensors writes several in any order


def masks_record(masks: Masks) -> dict[str, Any]:
    """Return what the record says of masks: what becomes of other entries, and how many each tensor keeps."""
    kind, found = masks
    kept = {name: int(mask.sum()) for name, mask in found.items()}
    whole = sum(mask.numel() for mask in found.values())
    return {"file": MASKS, "kind": kind, "kept": sum(kept.values()), "of": whole, "by_tensor": kept}


def constrain_as_predicted(module: nn.Module, prediction: Prediction) -> None:
    """Constrain a module by the masks of a prediction, all tensors of which were read.

    Raises:
        OptionError: There are no masks, or not yet; the module is of another architecture, or constrained already.

    """
    kind, masks = prediction.initializer.masks() or ("pruned", {})
    if not masks:
        raise OptionError(
            "The prediction has no masks: it prunes and freezes nothing, or its tensors were not read yet. Call: "
            "module.load_state_dict(prediction.state_dict())"
        )
    hold(module, kind, masks)


def constrain(module: nn.Module, folder: Path) -> None:
    """Constrain a module by the masks of a folder.

    Raises:
        CheckError: The folder has no masks, or its file is not one that paramgen writes.
        OptionError: The module is of another architecture, or constrained already.

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
    hold(module, kind, masks)
