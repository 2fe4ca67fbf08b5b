"""The checkpoint that a run is resumed from: one safetensors file, with the rest as JSON in its header.

It is written to a partial file and renamed, so that a kill at any moment leaves a whole file. No state of random
generators is saved: all random numbers of a step depend on seed and step alone (`targets.seed_of`).
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
from torch.optim.swa_utils import AveragedModel

from paramgen.errors import OptionError

NAME: Final = "checkpoint.safetensors"
_MODEL: Final = "model."
_AVERAGE: Final = "average."
_OPTIMIZER: Final = "optimizer."


def save(
    folder: Path, model: nn.Module, average: AveragedModel, optimizer: torch.optim.Optimizer, rest: Mapping[str, Any]
) -> None:
    """Write the state of a run; `rest` is JSON."""
    tensors = {f"{_MODEL}{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"{_AVERAGE}{name}": tensor for name, tensor in average.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{index}.{key}": torch.as_tensor(value) for key, value in values.items()}
    partial = folder / f"{NAME}.partial"
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(whole, partial, metadata={"rest": json.dumps(dict(rest))})
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(folder / NAME)


def load(folder: Path, model: nn.Module, average: AveragedModel, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Restore a saved state and return `rest`."""
    tensors, rest = _read(folder)
    model.load_state_dict(_under(tensors, _MODEL))
    average.load_state_dict(_under(tensors, _AVERAGE))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under(tensors, _OPTIMIZER).items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return rest


def average(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of the averaged model."""
    return _under(_read(folder)[0], f"{_AVERAGE}module.")


def _read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    path = folder / NAME
    if not path.exists():
        raise OptionError(f"{path} does not exist: no run was saved there. Leave --resume out to start one.")
    with safe_open(path, framework="pt") as file:
        rest: dict[str, Any] = json.loads(file.metadata()["rest"])
        return {name: file.get_tensor(name) for name in file.keys()}, rest  # noqa: SIM118 - not a mapping


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
