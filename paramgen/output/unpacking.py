"""A folder whose weights are stored in few bits becomes the ordinary one that its library loads."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from paramgen.errors import CheckError
from paramgen.modelcard.notebook import table
from paramgen.output.verify import Checked, verify_folder
from paramgen.storage.folder import checked_target, transaction
from paramgen.storage.packed import unpack


@final
@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """What was made of a folder in few bits.

    Args:
        source: Of which folder.
        folder: Where it was written.
        files: Every file with its size in bytes.
        checked: What loading it with its library gave; None where it was not checked.

    """

    source: Path
    folder: Path
    files: Mapping[str, int]
    checked: Checked | None

    def __repr__(self) -> str:
        size, checked = sum(self.files.values()), self.checked
        loaded = "not checked" if checked is None else f"loaded by {checked.loaded_by or 'its owner'}"
        return f"Unpacked({str(self.folder)!r}, {len(self.files)} files, {size:,} bytes, {loaded})"

    def _repr_html_(self) -> str:
        return table(repr(self), ("file", "bytes"), list(self.files.items())[:12])

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        loaded = None if self.checked is None else self.checked.loaded_by
        return {
            "source": str(self.source),
            "folder": str(self.folder),
            "files": dict(self.files),
            "checked": self.checked is not None,
            "loaded_by": loaded,
        }

    def in_words(self) -> dict[str, Any]:
        """Return what the command prints, and what to type next."""
        checked = {} if self.checked is None else {"checked": f"{self.checked.tensors:,} tensors, none changed"}
        size = f"{sum(self.files.values()):,} bytes in {len(self.files)} files"
        return {"folder": f"{self.folder}, {size}", **checked, "next": f"paramgen info {self.folder}"}


def unpack_folder(
    source: Path, folder: Path, *, target: Path | None = None, overwrite: bool = False, verify: bool = True
) -> Unpacked:
    """Make the ordinary folder, whole or not at all.

    Args:
        source: What `predict --quantize` wrote.
        folder: Where, as the user typed it.
        target: What `checked_target` returned for the folder, where it was called before.
        overwrite: Replace a folder that paramgen wrote.
        verify: Load the folder with its library, and compare it with its record, before it appears under its name.

    Raises:
        CheckError: It is refused, or other values than those recorded are in it.

    """
    real = checked_target(folder, overwrite=overwrite) if target is None else target
    with transaction(real, overwrite=overwrite, checked=True) as partial:
        unpack(source, partial)
        try:
            checked = replace(verify_folder(partial), folder=folder) if verify else None
        except CheckError as error:
            raise CheckError(error.message.replace(str(partial), str(folder))) from error
        files = {
            each.relative_to(partial).as_posix(): each.stat().st_size
            for each in sorted(partial.rglob("*"))
            if each.is_file()
        }
    return Unpacked(source=source, folder=folder, files=files, checked=checked)
