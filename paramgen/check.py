"""Load a folder with the library it was written for, and compare: nothing missing, unexpected or changed."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from paramgen.architectures import Loaded, read_config, sources
from paramgen.architectures.ownership import is_ours
from paramgen.architectures.state import load_state, stored_tensors
from paramgen.errors import CheckError, ParamgenError

REPORT = "paramgen.json"
REAL_LIMIT = 2 * 10**9
"""Folders of more bytes than this are checked against the meta device unless asked otherwise."""

Memory = Literal["auto", "real", "meta"]


@final
@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was compared."""

    folder: Path
    loaded_by: str
    tensors: int
    memory: str


def check_folder(folder: Path, *, memory: Memory = "auto") -> Checked:
    """Load `folder` and compare every tensor with the file and with the record in paramgen.json.

    On real memory the loaded values are compared bit by bit; on the meta device names, shapes and the file's own
    content are.

    Raises:
        CheckError: Anything is missing, unexpected, of another shape, not finite, or changed.
    """
    if not folder.is_dir():
        raise CheckError(f"There is no folder {str(folder)!r}. Type: paramgen predict --arch NAME --out {folder}")
    record = _record(folder)
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    real = memory == "real" or (memory == "auto" and size <= REAL_LIMIT)
    source = str(record.get("source") or _source_of(folder))
    live = source == "module" and not is_ours(read_config(folder))
    loaded = None if live else _load(source, folder, torch.device("cpu" if real else "meta"))
    if loaded is not None:
        _refuse_keys(folder, source, loaded)
    state = loaded.module.state_dict() if loaded is not None and real else {}
    count = _compare(folder, record.get("tensors"), state)
    return Checked(folder=folder, loaded_by=source if loaded is not None else "nothing", tensors=count, memory="real" if real else "meta")


def load_folder(folder: Path, module: nn.Module | None = None) -> nn.Module:
    """Return what the library's own loader makes of `folder`, or `module` with the folder's tensors."""
    if not folder.is_dir():
        raise CheckError(f"There is no folder {str(folder)!r}. Type: paramgen predict --arch NAME --out {folder}")
    source = str(_record(folder).get("source") or _source_of(folder))
    loaded = load_state(module, folder) if module is not None else _load(source, folder, torch.device("cpu"))
    _refuse_keys(folder, source, loaded)
    return loaded.module


def _record(folder: Path) -> dict[str, Any]:
    file = folder / REPORT
    if not file.is_file():
        return {}
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckError(f"{file} cannot be read: {error}. Predict the folder again.") from error
    if not isinstance(record, dict):
        raise CheckError(f"{file} holds no JSON object. Predict the folder again.")
    return record


def _source_of(folder: Path) -> str:
    config = read_config(folder)
    if "model_type" in config:
        return "transformers"
    if "_class_name" in config:
        return "diffusers"
    if "pretrained_cfg" in config:
        return "timm"
    library = config.get("library")
    if library in ("torchvision", "paramgen"):
        return "torchvision" if library == "torchvision" else "module"
    raise CheckError(f"{folder}/config.json belongs to no library known here: {', '.join(sources.names())}.")


def _load(source: str, folder: Path, device: torch.device) -> Loaded:
    with quiet_libraries():
        try:
            return sources.get(source)().load(folder, device)
        except ParamgenError:
            raise
        except Exception as error:  # a library's loader may raise anything
            reason = str(error).strip().partition("\n")[0]
            raise CheckError(f"{source} cannot load {folder}: {type(error).__name__}: {reason}") from error


def _refuse_keys(folder: Path, source: str, loaded: Loaded) -> None:
    for what in ("missing", "unexpected", "mismatched"):
        names = getattr(loaded, what)
        if names:
            raise CheckError(f"{source} finds {len(names)} {what} tensors in {folder}, first {names[0]!r}.")


def _compare(folder: Path, recorded: Mapping[str, Any] | None, state: Mapping[str, Tensor]) -> int:
    """Compare every stored tensor with the record and with what was loaded; return how many there are."""
    names = set()
    for name, tensor in stored_tensors(folder):
        names.add(name)
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise CheckError(f"Tensor {name!r} in {folder} is not finite.")
        entry = None if recorded is None else recorded.get(name)
        if entry is not None and entry.get("sha256") != digest(tensor):
            raise CheckError(f"Tensor {name!r} in {folder} has changed since it was written.")
        if name in state and not torch.equal(state[name].to(tensor.dtype).cpu(), tensor):
            raise CheckError(f"Tensor {name!r} in {folder} is changed by loading it.")
    if recorded is not None and names != set(recorded):
        odd = sorted(names ^ set(recorded))
        raise CheckError(f"{folder} does not hold what {REPORT} lists: {len(odd)} tensors differ, first {odd[0]!r}.")
    return len(names)


def digest(tensor: Tensor) -> str:
    """Return the sha256 of a tensor's bytes in row-major order."""
    return sha256(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data).hexdigest()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep the libraries' own log lines and progress bars out of ours."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    logging.disable(logging.WARNING)
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
