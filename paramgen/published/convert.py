"""Convert a published checkpoint to a folder that `Hypernet.from_pretrained` reads."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor

from paramgen.errors import ForeignError
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.hypernet import Hypernet, empty_hypernet
from paramgen.published.cursor import shown
from paramgen.published.families import PublishedFamily, Settings, resolve_settings
from paramgen.published.ghn2 import GHN2
from paramgen.published.ghn3 import GHN3
from paramgen.published.logah import LOGAH
from paramgen.published.origin import CONVERSION_RECORD
from paramgen.published.reader import ForeignFile, read
from paramgen.published.tables import DROPPED, KeyTable
from paramgen.published.tensors import ForeignTensor
from paramgen.storage.folder import checked_target, transaction
from paramgen.storage.unaltered import digests_of

ATTENTION: Final = "softmax"
"""The attention in the graphs that the published weights were trained with: an explicit softmax, not fused."""

PUBLISHED_FAMILIES: Final[tuple[PublishedFamily, ...]] = (
    GHN2,
    LOGAH,
    GHN3,
)  # in this order: GHN-2 has the decoder that marks GHN-3
_FLOATS: Final = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedWeights:
    """A published hypernet as ours, in memory."""

    family: PublishedFamily
    settings: Settings
    table: KeyTable
    config: HypernetConfig
    tensors: dict[str, Tensor]
    dropped: dict[str, str]  # published tensors that are not taken over, and why


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """What was converted, from where to where."""

    family: str
    file: Path
    folder: Path
    sha256: str  # of the file
    parameters: int
    config: HypernetConfig

    def to_json(self) -> dict[str, Any]:
        """Return what the command prints."""
        return {
            "family": self.family,
            "file": str(self.file),
            "folder": str(self.folder),
            "sha256": self.sha256,
            "parameters": self.parameters,
            "config": self.config.to_json(),
        }


def convert(file: Path, out: Path, *, overwrite: bool = False) -> Converted:
    """Write the hypernet of a published checkpoint to a folder, whole or not at all.

    Args:
        file: The checkpoint.
        out: A new or empty folder; with `overwrite` also one that was converted before.
        overwrite: Whether what was converted before may be replaced.

    Raises:
        ForeignError: The file is refused: it is no published hypernet, or contradicts itself.
        OutputError: The folder cannot be written.

    """
    target = checked_target(out, overwrite=overwrite, mark=CONVERSION_RECORD)
    if file.resolve().is_relative_to(target):
        raise ForeignError(f"{str(file)!r} lies in the folder that is to be written. Type another one.")
    source = read(file)
    loaded = load(source)
    sha256 = source.sha256
    hypernet = empty_hypernet(loaded.config)
    hypernet.load_state_dict(loaded.tensors, assign=True)
    with transaction(out, overwrite=overwrite, mark=CONVERSION_RECORD) as folder:
        hypernet.save_pretrained(folder)
        content = {**_record(loaded, file, source, sha256), "digests": digests_of(folder)}
        record = json.dumps(content, indent=2) + "\n"
        (folder / CONVERSION_RECORD).write_text(record, encoding="utf-8")
    return Converted(
        family=loaded.family.name,
        file=file,
        folder=out,
        sha256=sha256,
        parameters=_parameters(hypernet),
        config=loaded.config,
    )


def load(source: ForeignFile) -> PublishedWeights:
    """Return the hypernet that a file holds, in our names and in float32, or refuse it.

    Raises:
        ForeignError: The file is no published hypernet, or contradicts itself.
    """
    state, stated = _state_and_config(source)
    shapes = {key: tensor.shape for key, tensor in state.items()}
    family = next((family for family in PUBLISHED_FAMILIES if family.mark in shapes), None)
    if family is None:
        known = sorted(family.name for family in PUBLISHED_FAMILIES)
        raise ForeignError(
            f"{source.path} is of no known family. Known: {', '.join(known)}; "
            f"they are recognized by tensors such as {GHN3.mark!r}, and its first one is {shown(next(iter(shapes)))}."
        )
    settings = resolve_settings(stated, family.facts(shapes))
    config, table = family.config(settings, shapes), family.table(settings)
    wanted = _wanted(state, empty_hypernet(config), table, flat=family.flat)
    _check_bytes(wanted, source)
    tensors = {key: _float32(table.to_foreign(key), tensor) for key, (tensor, _) in wanted.items()}
    _check_copies(state, table)
    return PublishedWeights(
        family=family,
        settings=settings,
        table=table,
        config=config,
        tensors={key: tensor.reshape(wanted[key][1]) for key, tensor in tensors.items()},
        dropped={key: entry.why for key in state if (entry := table.dropped_by(key)) is not None},
    )


def _state_and_config(source: ForeignFile) -> tuple[dict[str, ForeignTensor], Mapping[str, object] | None]:
    """Return the tensors of a file, and its configuration if it has one."""
    content = source.content
    stated: object = None
    if isinstance(content, dict) and "state_dict" in content:
        stated, content = content.get("config"), content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise ForeignError(f"{source.path} holds {shown(content)}; a checkpoint is a dictionary of tensors.")
    if stated is not None and not (isinstance(stated, dict) and all(isinstance(key, str) for key in stated)):
        raise ForeignError(f"The config in {source.path} is {shown(stated)}; it must be a dictionary.")
    state: dict[str, ForeignTensor] = {}
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, ForeignTensor):
            raise ForeignError(f"{source.path} holds {shown(value)} as {shown(key)}; a checkpoint has only tensors.")
        state[key] = value
    return state, stated


def _wanted(
    state: Mapping[str, ForeignTensor], hypernet: Hypernet, table: KeyTable, *, flat: bool
) -> dict[str, tuple[ForeignTensor, torch.Size]]:
    """Return by our name the tensors that our hypernet takes, each with the shape it gets; all must be there."""
    expected = {key: tensor.shape for key, tensor in hypernet.state_dict().items()}
    found: dict[str, tuple[ForeignTensor, torch.Size]] = {}
    for key, tensor in state.items():
        ours = table.to_ours(key)
        if ours.startswith(DROPPED):
            continue
        if ours not in expected:
            raise ForeignError(f"The file has the tensor {shown(key)}, which its config does not ask for.")
        if tensor.shape not in _shapes(expected[ours], flat=flat):
            raise ForeignError(
                f"The file contradicts itself: {key} is of shape {tensor.shape}, its config asks for "
                f"{tuple(expected[ours])}."
            )
        found[ours] = (tensor, expected[ours])
    missing = [table.to_foreign(key) for key in expected if key not in found]
    if missing:
        raise ForeignError(f"The file lacks {len(missing)} tensors that its config asks for, first {missing[0]!r}.")
    return found


def _shapes(shape: torch.Size, *, flat: bool) -> tuple[tuple[int, ...], ...]:
    """Return the shapes in which a tensor may be stored."""
    return (tuple(shape), (*shape, 1, 1)) if flat and len(shape) == 2 else (tuple(shape),)


def _check_bytes(wanted: Mapping[str, tuple[ForeignTensor, torch.Size]], source: ForeignFile) -> None:
    """Refuse a small file whose tensors share storage to become a large hypernet."""
    needed = sum(tensor.elements * tensor.dtype.itemsize for tensor, _ in wanted.values())
    if needed > len(source.data):
        raise ForeignError(
            f"{source.path} has {len(source.data):,} bytes, but tensors of {needed:,}. Get the file again."
        )


def _check_copies(state: Mapping[str, ForeignTensor], table: KeyTable) -> None:
    """Refuse a file in which a tensor that should be the copy of another one is not."""
    for key, tensor in state.items():
        entry = table.dropped_by(key)
        if entry is None or entry.copy_of is None:
            continue
        twin = state.get(entry.copy_of + key.removeprefix(entry.foreign))
        if twin is None or twin.shape != tensor.shape or not torch.equal(twin.tensor(), tensor.tensor()):
            raise ForeignError(f"The file contradicts itself: {key} is not the same tensor as in {entry.copy_of}.")


def _float32(key: str, tensor: ForeignTensor) -> Tensor:
    if tensor.dtype not in _FLOATS:
        raise ForeignError(f"The file's {key} is of type {tensor.dtype}; weights are floating-point numbers.")
    made = tensor.tensor().to(torch.float32).contiguous()
    if not bool(torch.isfinite(made).all()):
        raise ForeignError(f"The file's {key} holds values that are not finite. Get the file again.")
    return made


def _record(loaded: PublishedWeights, file: Path, source: ForeignFile, sha256: str) -> dict[str, Any]:
    """Return what a converted folder says about its origin."""
    return {
        "family": loaded.family.name,
        "file": file.name,
        "bytes": len(source.data),
        "sha256": sha256,
        "attention": ATTENTION,
        "cutoff": loaded.config.encoder.cutoff,
        "weight_norm": loaded.settings.weight_norm,
        "settings": asdict(loaded.settings),
        "dropped": loaded.dropped,
    }


def _parameters(hypernet: Hypernet) -> int:
    return sum(parameter.numel() for parameter in hypernet.parameters())
