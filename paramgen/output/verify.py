"""Load a folder with the library it was written for, and compare: nothing missing, unexpected or changed.

Where a published hypernet made it, the norm of its parameters must be the published one.
"""

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from math import sqrt
from pathlib import Path
from typing import Any, Final, Literal, final, get_args

import torch
from torch import Tensor, nn

from paramgen._optional.torchvision import ensure_torchvision
from paramgen.architectures import LoadedModel, read_config, sources
from paramgen.architectures.ownership import is_ours, own_record
from paramgen.architectures.state import load_state
from paramgen.errors import CheckError, OptionError, ParamgenError, one_line
from paramgen.published.published import NormComparison, compare
from paramgen.slots.manifest import state_of
from paramgen.storage.packed import ordinary
from paramgen.storage.reading import Stored, stored, weight_files
from paramgen.storage.record import REPORT, read_record

REAL_LIMIT: Final = 250_000_000
"""Folders of more bytes than this are checked against the meta device unless real memory is requested."""

Memory = Literal["auto", "real", "meta"]


@final
@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was compared. `loaded_by` is None for a live module's folder, which only its owner can load.

    `published` is None unless a published hypernet made the prediction.

    Args:
        folder: What was loaded.
        loaded_by: The library.
        tensors: How many were compared.
        memory: `real` where the loaded values were compared bit by bit, `meta` where names and shapes were.
        published: How the norm compares with the published one.

    """

    folder: Path
    loaded_by: str | None
    tensors: int
    memory: Literal["real", "meta"]
    published: NormComparison | None

    def __repr__(self) -> str:
        loaded = self.loaded_by or "its owner"
        return f"Checked({str(self.folder)!r}, {self.tensors} tensors, loaded by {loaded!r}, {self.memory} memory)"

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        found = {"folder": str(self.folder), "loaded_by": self.loaded_by, "tensors": self.tensors}
        published = {} if self.published is None else {"published": self.published.to_json()}
        return {**found, "memory": self.memory, **published, "ok": True}


def check_folder(folder: Path, *, memory: Memory = "auto") -> Checked:
    """Load `folder` and compare every tensor with the file and with the record in paramgen.json.

    On real memory the loaded values are compared bit by bit; on the meta device names, shapes and the file's own
    content are.

    Raises:
        CheckError: Anything is missing, unexpected, of another shape, not finite, or changed; or a published hypernet
            made it, and its norm is not the published one.
        OptionError: The memory is unknown.

    """
    if memory not in get_args(Memory):
        raise OptionError(f"Unknown --memory {memory!r}. Allowed: {', '.join(get_args(Memory))}")
    with ordinary(folder) as place:
        done = replace(verify_folder(place, memory=memory), folder=folder)
    if done.published is not None and done.published.verdict == "differs":
        raise CheckError(
            f"{folder} does not hold the published prediction: {done.published}. Get the file again and type: paramgen "
            f"predict --arch torchvision:{done.published.architecture} --init hypernet:{done.published.file} --out NEW"
        )
    return done


def verify_folder(folder: Path, *, memory: Memory = "auto") -> Checked:
    """Do as `check_folder` does, but leave it to the caller to judge what comparing with the published norm gave."""
    record = read_report(folder)
    size = sum(file.stat().st_size for file in weight_files(folder))
    real = memory == "real" or (memory == "auto" and size <= REAL_LIMIT)
    source = _source_of(folder, record)
    live = source == "module" and not is_ours(own_record(folder))
    loaded = None if live else _load(source, folder, torch.device("cpu" if real else "meta"))
    if loaded is not None:
        _refuse_keys(folder, source, loaded)
    state = None if loaded is None else state_of(loaded.module)
    count = _compare(folder, _recorded(folder, record), state)
    return Checked(
        folder=folder,
        loaded_by=None if loaded is None else source,
        tensors=count,
        memory="real" if real else "meta",
        published=None if loaded is None else compare(record, lambda: parameter_norm(folder, loaded.module)),
    )


def parameter_norm(folder: Path, module: nn.Module) -> float:
    """Return the root of the sum of squares of all stored values that are parameters of `module`."""
    names = {name for name, _ in module.named_parameters()}
    pieces = (piece for entry in stored(folder) if entry.name in names for piece in entry.pieces())
    return sqrt(sum(float(piece.double().square().sum()) for piece in pieces))


def load_folder(folder: Path, module: nn.Module | None = None) -> nn.Module:
    """Return what the library's own loader makes of `folder`, or `module` with the folder's tensors."""
    _refuse_absent(folder)
    with ordinary(folder) as place:
        return _load_folder(place, module)


def _load_folder(folder: Path, module: nn.Module | None) -> nn.Module:
    if module is not None:
        loaded, source = load_state(module, folder), "the module"
    else:
        source = _source_of(folder, read_report(folder))
        loaded = _load(source, folder, torch.device("cpu"))
    _refuse_keys(folder, source, loaded)
    return loaded.module


def read_report(folder: Path) -> dict[str, Any]:
    """Return the folder's paramgen.json; empty where somebody else wrote the folder."""
    _refuse_absent(folder)
    return read_record(folder)


@contextmanager
def quiet_libraries(source: str) -> Iterator[None]:
    """Keep a library's own warnings, log lines and progress bars out of ours."""
    modules = [sys.modules[name] for name in _reporting(source)]
    levels = [(module, module.get_verbosity(), module.is_progress_bar_enabled()) for module in modules]
    disabled = logging.root.manager.disable
    logging.disable(max(disabled, logging.WARNING))
    for module in modules:
        module.set_verbosity_error()
        module.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        for module, level, bars in levels:
            module.set_verbosity(level)
            if bars:
                module.enable_progress_bar()


def _reporting(source: str) -> list[str]:
    """Import the modules through which the loader of `source` reports, and return their names."""
    names = {"transformers": ["transformers"], "diffusers": ["transformers", "diffusers"]}.get(source, [])
    ensure_torchvision()
    return [importlib.import_module(f"{name}.utils.logging").__name__ for name in names]


def _refuse_absent(folder: Path) -> None:
    if not folder.is_dir():
        raise CheckError(f"There is no folder {str(folder)!r}. Type: paramgen predict --arch NAME --out {folder}")


def _recorded(folder: Path, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the record of each tensor, or None where there is no paramgen.json."""
    recorded = record.get("tensors")
    if not record:
        return None
    if not isinstance(recorded, dict) or not all(isinstance(entry, dict) for entry in recorded.values()):
        raise CheckError(f"{folder / REPORT} lists no tensors. Predict the folder again.")
    return recorded


def _source_of(folder: Path, record: Mapping[str, Any]) -> str:
    if "source" in record:
        return str(record["source"])
    if not (folder / "config.json").is_file():
        raise CheckError(f"{str(folder)!r} holds no config.json. Type the folder that predict or a library wrote.")
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


def _load(source: str, folder: Path, device: torch.device) -> LoadedModel:
    loader = sources.get(source)()
    with quiet_libraries(source):
        try:
            return loader.load(folder, device)
        except ParamgenError:
            raise
        except (Exception, SystemExit) as error:  # a library's loader may raise anything
            raise CheckError(f"{source} cannot load {folder}: {type(error).__name__}: {one_line(error)}") from error


def _refuse_keys(folder: Path, source: str, loaded: LoadedModel) -> None:
    for what in ("missing", "unexpected", "mismatched"):
        names = getattr(loaded, what)
        if names:
            raise CheckError(f"{source} finds {len(names)} {what} tensors in {folder}, first {names[0]!r}.")


def _compare(folder: Path, recorded: Mapping[str, Any] | None, state: Mapping[str, Tensor] | None) -> int:
    """Compare every stored tensor with the record and with what was loaded; return how many there are."""
    entries = stored(folder)
    if recorded is not None and (odd := sorted({entry.name for entry in entries} ^ set(recorded))):
        raise CheckError(f"{folder} does not hold what {REPORT} lists: {len(odd)} tensors differ, first {odd[0]!r}.")

    def compare(entry: Stored) -> None:
        # Other people's folders may use names that the library translates as it loads; ours do not.
        if recorded is not None and state is not None and entry.name not in state:
            raise CheckError(f"Tensor {entry.name!r} in {folder} is under no such name in what the library loads.")
        _compare_one(
            entry,
            None if recorded is None else recorded[entry.name],
            None if state is None else state.get(entry.name),
        )

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # hashing takes longest, and lets others run
        for _ in pool.map(compare, entries):
            pass
    return len(entries)


def _compare_one(entry: Stored, record: Mapping[str, Any] | None, loaded: Tensor | None) -> None:
    what = f"Tensor {entry.name!r} in {entry.file.parent}"
    if loaded is not None and tuple(loaded.shape) != entry.shape:
        raise CheckError(f"{what} has the shape {entry.shape}; the library expects {tuple(loaded.shape)}.")
    values = None if loaded is None or loaded.is_meta else loaded.detach().cpu().reshape(-1)
    hashed, begin = sha256(), 0
    infinite = False
    for piece in entry.pieces():
        hashed.update(_bytes(piece))
        if not _finite(piece):
            infinite = True
            if bool(piece.isnan().any()):
                raise CheckError(f"{what} is not a number in places. Predict it again.")
        if values is not None and not torch.equal(values[begin : begin + len(piece)].to(piece.dtype), piece):
            raise CheckError(f"{what} is changed by loading it.")
        begin += len(piece)
    if record is not None and record.get("sha256") != hashed.hexdigest():
        raise CheckError(f"{what} has changed since it was written. Predict it again.")
    # A library may mean infinity, as in a mask: then the record says so, having no mean.
    if infinite and (record is None or record.get("mean") is not None or record.get("rule") == "hypernet"):
        raise CheckError(f"{what} is infinite in places. Predict it again.")


def _finite(piece: Tensor) -> bool:
    piece = torch.view_as_real(piece) if piece.is_complex() else piece
    if not piece.is_floating_point():
        return True
    values = piece.float() if piece.dtype.itemsize == 1 else piece
    # The sum is one fast pass; only where it overflows are the values looked at.
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())


def _bytes(flat: Tensor) -> memoryview:
    return flat.view(torch.uint8).numpy().data
