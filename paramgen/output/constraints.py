"""What is to hold of weights in training: in the folder of a prediction, and of a module that is trained."""

from pathlib import Path
from typing import Any

from torch import nn

from paramgen.errors import OptionError
from paramgen.modifiers.constraints import Constraint
from paramgen.modifiers.masking.holding import Masking
from paramgen.modifiers.sharing.memory import SharedMemory
from paramgen.output.masks import masking_in, masks_record, write_masks
from paramgen.output.sharing import memory_in, shared_record, write_shared
from paramgen.prediction import Prediction

_NOT_READ = "or its tensors were not read yet. Call: module.load_state_dict(prediction.state_dict())"


def write_constraint(constraint: Constraint | None, folder: Path) -> None:
    """Write the file that stands beside the weights, where a prediction has one."""
    if isinstance(constraint, Masking):
        write_masks(constraint, folder)
    elif isinstance(constraint, SharedMemory):
        write_shared(constraint, folder)


def constraint_record(constraint: Constraint | None) -> dict[str, Any]:
    """Return the entry of the record, where there is one."""
    if isinstance(constraint, Masking):
        return {"masks": masks_record(constraint)}
    return {"shared": shared_record(constraint)} if isinstance(constraint, SharedMemory) else {}


def hold_masks(module: nn.Module, source: Path | Prediction) -> None:
    """Constrain a module by the masks of a folder, or of a prediction all tensors of which were read.

    Raises:
        CheckError: The folder has no masks, or not such as paramgen writes.
        OptionError: The prediction has none; the module is of another architecture, or constrained already.

    """
    found = masking_in(source, module) if isinstance(source, Path) else source.initializer.constraint()
    if not isinstance(found, Masking):
        raise OptionError(f"The prediction has no masks: it prunes and freezes nothing, {_NOT_READ}")
    found.hold(module)


def hold_shared(module: nn.Module, source: Path | Prediction) -> None:
    """Constrain a module to the memory of a folder, or of a prediction all tensors of which were read.

    Raises:
        CheckError: The folder has no memory, or not such as paramgen writes.
        OptionError: The prediction has none; the module is of another architecture, or constrained already.

    """
    found = memory_in(source) if isinstance(source, Path) else source.initializer.constraint()
    if not isinstance(found, SharedMemory):
        raise OptionError(f"The prediction shares no weights: --then share is missing, {_NOT_READ}")
    found.hold(module)
