"""Reading a hypernet's folder without trusting it: `config.json` and `model.safetensors`."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from paramgen.errors import HypernetError
from paramgen.hub.download import fetch_file, reason
from paramgen.storage.json_file import read_json_object
from paramgen.storage.pretrained import pretrained_folder
from paramgen.storage.regular import refuse_irregular

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
MAX_CONFIG_BYTES: Final = 1_000_000
_DTYPES: Final = ("F32", "BF16", "F16")


def shipped(name: str, default: str) -> Path | None:
    """Return the folder under `pretrained/` that a name, or the default one, stands for; None if there is none."""
    folder = pretrained_folder(name or default)
    named = re.fullmatch(r"\w+", name or default) and not (name and Path(name).exists())
    return folder if named and folder.is_dir() else None


def shipped_hypernets() -> list[str]:
    """Return the names of the hypernets that come with paramgen."""
    return sorted(entry.name for entry in pretrained_folder().iterdir() if (entry / CONFIG).is_file())


def locate(name: str, file: str, **download: Any) -> Path:
    """Return the path of one file of a folder or, where there is no such folder, of a Hub repository.

    Raises:
        HypernetError: The file cannot be had.
    """
    if Path(name).is_dir():
        path = Path(name) / file
        if not path.is_file():
            raise HypernetError(f"The folder {name!r} has no {file}; a hypernet is {CONFIG} and {WEIGHTS}.")
        return path
    try:
        return fetch_file(name, file, **download)
    except Exception as error:  # a connection that breaks raises what its own library has for it
        raise HypernetError(
            f"No hypernet {name!r}: neither a folder nor to be had from the Hub: {reason(error)}."
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a configuration file, whose size is checked first.

    Raises:
        HypernetError: It is too large, or holds no JSON object.
    """
    return read_json_object(path, most=MAX_CONFIG_BYTES, error=HypernetError)


def save(module: nn.Module, config: Mapping[str, Any], folder: Path) -> None:
    """Write both files of a module."""
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tensors = {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    # safetensors writes a file that only its owner can read.
    (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)


def read_weights(path: Path, expected: Mapping[str, Tensor], *, as_stored: bool = False) -> dict[str, Tensor]:
    """Return the tensors of a file, if they are exactly the expected ones and all finite.

    They are in float32. A tensor that is so in the file, or that is wanted `as_stored`, is mapped into memory: all
    processes that read the file share it.

    Raises:
        HypernetError: A tensor is missing, unexpected, of another shape, or not finite.
    """
    refuse_irregular(path, HypernetError, "Get the file again.")
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            _check_names(path, names, expected)
            for name, tensor in expected.items():
                header = file.get_slice(name)
                shape, dtype = tuple(header.get_shape()), header.get_dtype()
                if shape != tuple(tensor.shape) or dtype not in _DTYPES:
                    raise HypernetError(
                        f"{path}: {name} is {dtype} of shape {shape}; {CONFIG} asks for {tuple(tensor.shape)}, "
                        f"allowed are {', '.join(_DTYPES)}."
                    )
            found = {name: _finite(path, name, file.get_tensor(name)) for name in expected}
            return found if as_stored else {name: tensor.to(torch.float32) for name, tensor in found.items()}
    except (SafetensorError, OSError) as error:
        raise HypernetError(f"{path} cannot be read: {error}. Get the file again.") from error


def _check_names(path: Path, names: set[str], expected: Mapping[str, Tensor]) -> None:
    missing, unknown = sorted(expected.keys() - names), sorted(names - expected.keys())
    if missing:
        raise HypernetError(f"{path} lacks {len(missing)} tensors that {CONFIG} asks for, first {missing[0]!r}.")
    if unknown:
        raise HypernetError(f"{path} has {len(unknown)} tensors that {CONFIG} does not ask for, first {unknown[0]!r}.")


def _finite(path: Path, name: str, tensor: Tensor) -> Tensor:
    if not bool(torch.isfinite(tensor).all()):
        raise HypernetError(f"{path}: {name} holds values that are not finite. Get the file again.")
    return tensor
