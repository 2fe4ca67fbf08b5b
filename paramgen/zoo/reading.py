"""Open a zoo, which may be anybody's: sizes are limited, nothing is executed, bad checkpoints are skipped by name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from paramgen.errors import ZooError, one_line
from paramgen.storage.regular import refuse_irregular
from paramgen.zoo.hashes import content_sha256
from paramgen.zoo.layout import ZooLayout, read_layout
from paramgen.zoo.low_rank import restore, shapes
from paramgen.zoo.table import Row, read_rows

SHARDS: Final = "shards"
MAX_SHARD_BYTES: Final = 20_000_000_000  # bytes
MAX_BASE_BYTES: Final = 2_000_000_000
_FLOATS: Final = ("F32", "F16", "BF16")
_WITH_COUNTERS: Final = (*_FLOATS, "F64", "I64", "I32", "U8", "BOOL")  # whole networks have buffers, too


@final
@dataclass(frozen=True, slots=True)
class Skipped:
    """A checkpoint that cannot be used, and why in half a sentence."""

    id: str
    reason: str


@final
@dataclass(slots=True, kw_only=True)
class Zoo:
    """The usable checkpoints of a folder. `skipped` lists the others, and grows when bad values are read."""

    folder: Path
    layout: ZooLayout
    base: Mapping[str, Tensor]
    rows: tuple[Row, ...]
    shapes: Mapping[str, tuple[int, ...]]
    skipped: list[Skipped] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path) -> "Zoo":
        """Read the table and the headers of all shards, no values. Raise ZooError where there is no zoo at all."""
        folder = Path(folder)
        layout = read_layout(folder)
        base = {} if layout.base is None else _whole(folder / layout.base)
        given = read_rows(folder)
        rows, skipped = _rows(given, layout)
        expected = shapes(layout, {name: tensor.shape for name, tensor in base.items()})
        listed = {shard: _header(folder / SHARDS / shard) for shard in sorted({row.shard for row in rows})}
        if not base:
            expected = _common(rows, listed)
        kept = []
        for row in rows:
            reason = _fault(row, listed[row.shard], expected, _FLOATS if base else _WITH_COUNTERS)
            if reason is None:
                kept.append(row)
            else:
                skipped.append(Skipped(row.id, reason))
        if not kept:
            why = f"; the first, {skipped[0].id}: {skipped[0].reason}" if skipped else ""
            raise ZooError(f"{str(folder)!r} has no checkpoint that can be used{why}.")
        return cls(folder=folder, layout=layout, base=base, rows=tuple(kept), shapes=expected, skipped=skipped)

    @property
    def base_state(self) -> dict[str, Tensor]:
        """The base checkpoint as a state dict: the base without the shared factors."""
        return restore(self.base, {}, scale=self.layout.scale)

    def row(self, id: str) -> Row:
        """Return the row of one checkpoint."""
        found = next((row for row in self.rows if row.id == id), None)
        if found is None:
            raise ZooError(f"The zoo {str(self.folder)!r} has no usable checkpoint {id[:200]!r}.")
        return found

    def tensors(self, id: str) -> dict[str, Tensor]:
        """Return what the zoo stores of one checkpoint. Raise ZooError if it is damaged or not finite."""
        return self._tensors(self.row(id))

    def restore(self, id: str) -> dict[str, Tensor]:
        """Return one checkpoint's whole state dict."""
        tensors = self.tensors(id)
        return tensors if self.layout.form == "full" else restore(self.base, tensors, scale=self.layout.scale)

    def states(self) -> Iterator[tuple[Row, dict[str, Tensor]]]:
        """Yield every checkpoint with its tensors; a bad one is skipped and joins `skipped`."""
        for row in self.rows:
            try:
                tensors = self._tensors(row)
            except ZooError as error:
                self.skipped.append(Skipped(row.id, str(error)))
            else:
                yield row, tensors

    def _tensors(self, row: Row) -> dict[str, Tensor]:
        path = self.folder / SHARDS / row.shard
        refuse_irregular(path, ZooError)
        try:
            with safe_open(path, framework="pt") as file:
                found = {name: file.get_tensor(f"{row.id}/{name}") for name in self.shapes}
        except (SafetensorError, OSError) as error:
            raise ZooError(f"{row.id} cannot be read from {path}: {one_line(error)}.") from error
        for name, tensor in found.items():
            if not torch.isfinite(tensor).all():
                raise ZooError(f"{row.id} is not finite in {name!r}.")
        if content_sha256(found) != row.content_sha256:
            raise ZooError(f"{row.id} is not what was written: its hash differs. Get {path.name} again.")
        return found


def _rows(given: list[Any], layout: ZooLayout) -> tuple[list[Row], list[Skipped]]:
    rows: dict[str, Row] = {}
    skipped = []
    for number, each in enumerate(given):
        name = str(each.get("id", ""))[:200] if isinstance(each, dict) else ""
        try:
            row = Row.from_json(each)
            if row.id in rows:
                raise ZooError("its id stands twice")
            if row.form != layout.form:
                raise ZooError(f"its form is {row.form[:40]!r}, the zoo's {layout.form!r}")
            if row.architecture_sha256 != layout.architecture_sha256:
                raise ZooError("its architecture is another than the zoo's")
            rows[row.id] = row
        except ZooError as error:
            skipped.append(Skipped(name or f"row {number}", str(error)))
    return list(rows.values()), skipped


def _header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]] | str:
    """Return type and shape of every tensor of a shard, or why it cannot be read."""
    try:
        refuse_irregular(path, ZooError)
        if path.stat().st_size > MAX_SHARD_BYTES:
            return f"{path.name} is larger than {MAX_SHARD_BYTES:,} bytes"
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            return {name: (each.get_dtype(), tuple(each.get_shape())) for name, each in slices.items()}
    except FileNotFoundError:
        return f"{path.name} is not there"
    except ZooError as error:
        return one_line(error)
    except (SafetensorError, OSError) as error:
        return f"{path.name} is not a whole safetensors file ({one_line(error)})"


def _fault(
    row: Row,
    header: dict[str, tuple[str, tuple[int, ...]]] | str,
    expected: Mapping[str, tuple[int, ...]],
    allowed: tuple[str, ...],
) -> str | None:
    if isinstance(header, str):
        return header
    for name, shape in expected.items():
        found = header.get(f"{row.id}/{name}")
        if found is None:
            return f"it has no tensor {name!r}"
        if found[1] != shape:
            return f"{name!r} is {found[1]}, the architecture's is {shape}"
        if found[0] not in allowed:
            return f"{name!r} is {found[0]}; allowed are {', '.join(allowed)}"
    return None


def _common(
    rows: list[Row], listed: Mapping[str, dict[str, tuple[str, tuple[int, ...]]] | str]
) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the first checkpoint that is there, for a zoo without a base."""
    for row in rows:
        header = listed[row.shard]
        if not isinstance(header, str):
            own = {name: entry[1] for name, entry in header.items() if name.startswith(f"{row.id}/")}
            if own:
                return {name.removeprefix(f"{row.id}/"): shape for name, shape in own.items()}
    return {}


def _whole(path: Path) -> dict[str, Tensor]:
    refuse_irregular(path, ZooError, "Get the zoo again.")
    try:
        if path.stat().st_size > MAX_BASE_BYTES:
            raise ZooError(f"{path} is larger than {MAX_BASE_BYTES:,} bytes; that is no zoo's base.")
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise ZooError(f"The base {path} cannot be read: {one_line(error)}. Get the zoo again.") from error
    bad = next((name for name, tensor in found.items() if not torch.isfinite(tensor).all()), None)
    if bad is not None:
        raise ZooError(f"The base {path} is not finite in {bad!r}. Get the zoo again.")
    return found
