"""What a push to the Hub returns. Importing this module loads nothing of the Hub."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final


@final
@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What is on the Hub now. `sent` and `known` are bytes of files that the Hub did not have, and had."""

    repo: str
    url: str
    revision: str
    commit: str
    created: bool  # the repository
    committed: bool  # False: everything was there already
    compared: bool  # False: the Hub did not answer after the commit
    private: bool
    files: Mapping[str, int]
    sent: int
    known: int
    loading: tuple[str, ...] = ()  # the lines that load it from the Hub, or predict with it, on any machine

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return asdict(self)

    def __repr__(self) -> str:
        return f"Pushed({self.repo!r}, {self.url!r}, commit={self.commit!r}, {len(self.files)} files)"
