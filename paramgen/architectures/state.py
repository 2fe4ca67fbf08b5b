"""Load the safetensors files of a folder into a module, tensor by tensor, strictly."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from paramgen.architectures import Loaded
from paramgen.errors import CheckError


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder, those of an index if there is one."""
    for index in sorted(folder.glob("*.safetensors.index.json")):
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        return [folder / Path(name).name for name in names]
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckError(f"There is no safetensors file in {folder}. Type: paramgen predict --out {folder}")
    return files


def stored_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor in the folder's safetensors files, one at a time."""
    for file in weight_files(folder):
        try:
            with safe_open(file, framework="pt") as reader:
                for name in reader.offset_keys():
                    yield name, reader.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckError(f"{file} is not a whole safetensors file: {error}. Predict it again.") from error


@torch.no_grad()
def load_state(module: nn.Module, folder: Path) -> Loaded:
    """Copy every stored tensor into `module`, and name what does not fit."""
    state = module.state_dict(keep_vars=True)
    shared = {id(tensor) for tensor in state.values()}
    unexpected, mismatched = [], []
    for name, value in stored_tensors(folder):
        target = state.get(name)
        if target is None:
            unexpected.append(name)
        elif target.shape != value.shape:
            mismatched.append(name)
        else:
            target.data = value.to(target.device, copy=True)
            shared.discard(id(target))
    missing = tuple(name for name, tensor in state.items() if id(tensor) in shared and name not in mismatched)
    return Loaded(module=module, missing=missing, unexpected=tuple(unexpected), mismatched=tuple(mismatched))
