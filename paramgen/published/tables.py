"""Key tables: what a published file calls a tensor, what we call it, and back."""

import re
from dataclasses import dataclass
from typing import Final, final

from paramgen.errors import ForeignError
from paramgen.published.cursor import shown

DROPPED: Final = "dropped."
"""The prefix of the key of a tensor that is not taken over."""

_LAYER: Final = "{layer}"
_LEAF: Final = r"[a-z_]+"


@final
@dataclass(frozen=True, slots=True)
class Rename:
    """The same module in both languages; `{layer}` means a number, the tensor's own name follows after a dot."""

    foreign: str
    ours: str


@final
@dataclass(frozen=True, slots=True)
class Dropped:
    """A module whose tensors are not taken over, and why; `copy_of`: they must equal those of another module."""

    foreign: str
    why: str
    copy_of: str | None = None


@final
@dataclass(frozen=True, slots=True)
class KeyTable:
    """All modules of a family. `to_foreign(to_ours(key)) == key` for every key that it knows."""

    renames: tuple[Rename, ...]
    dropped: tuple[Dropped, ...] = ()

    def to_ours(self, key: str) -> str:
        """Return our name of a published tensor; of one that is not taken over, its own name after `DROPPED`.

        Raises:
            ForeignError: No entry has this tensor.
        """
        for rename in self.renames:
            if (found := _translated(key, rename.foreign, rename.ours)) is not None:
                return found
        if self.dropped_by(key) is not None:
            return DROPPED + key
        raise ForeignError(f"The file has the tensor {shown(key)}, which its family does not know.")

    def to_foreign(self, key: str) -> str:
        """Return the published name of one of our tensors.

        Raises:
            ForeignError: No entry has this tensor.
        """
        if key.startswith(DROPPED):
            return key.removeprefix(DROPPED)
        for rename in self.renames:
            if (found := _translated(key, rename.ours, rename.foreign)) is not None:
                return found
        raise ForeignError(f"There is no published name for {shown(key)}.")

    def dropped_by(self, key: str) -> Dropped | None:
        """Return the entry by which a published tensor is not taken over; None where it is, or is not known."""
        for entry in self.dropped:
            if _translated(key, entry.foreign, entry.foreign) is not None:
                return entry
        return None


def _translated(key: str, source: str, target: str) -> str | None:
    """Return the key with the module `source` named `target`; None if it is not of that module."""
    pattern = re.escape(source).replace(re.escape(_LAYER), r"(?P<layer>0|[1-9][0-9]{0,3})")
    match = re.fullmatch(rf"{pattern}\.(?P<leaf>{_LEAF})", key)
    if match is None:
        return None
    layer = match.groupdict().get("layer", "")
    return f"{target.replace(_LAYER, layer)}.{match['leaf']}"
