"""One file that a run continues from: tensors as safetensors, the rest as JSON in the file's own header.

It is written beside the last one and renamed over it, so that a kill at any moment leaves a whole file. A run keeps no
state of random generators: everything drawn at a step comes from seed and step alone (`targets.seed_of`).
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from paramgen.errors import OptionError

NAME: Final = "checkpoint.safetensors"
_HYPERNET: Final = "hypernet."
_AVERAGE: Final = "average."
_OPTIMIZER: Final = "optimizer."


def save(
    folder: Path, hypernet: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, rest: Mapping[str, Any]
) -> None:
    """Write the run's state; `rest` is what JSON can hold."""
    tensors = {f"{_HYPERNET}{name}": tensor for name, tensor in hypernet.state_dict().items()}
    tensors |= {f"{_AVERAGE}{name}": tensor for name, tensor in average.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{index}.{key}": torch.as_tensor(value) for key, value in values.items()}
    partial = folder / f"{NAME}.partial"
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(whole, partial, metadata={"rest": json.dumps(dict(rest))})
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(folder / NAME)


def load(folder: Path, hypernet: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put a saved state back in place and return `rest`."""
    tensors, rest = _read(folder)
    hypernet.load_state_dict(_under(tensors, _HYPERNET))
    average.load_state_dict(_under(tensors, _AVERAGE))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under(tensors, _OPTIMIZER).items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return rest


def average(folder: Path) -> dict[str, Tensor]:
    """Return the averaged hypernet's tensors."""
    return _under(_read(folder)[0], _AVERAGE)


def _read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    path = folder / NAME
    if not path.exists():
        raise OptionError(f"{path} does not exist: no run was saved there. Leave --resume out to start one.")
    with safe_open(path, framework="pt") as file:
        rest: dict[str, Any] = json.loads(file.metadata()["rest"])
        return {name: file.get_tensor(name) for name in file.keys()}, rest  # noqa: SIM118 - not a mapping


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
