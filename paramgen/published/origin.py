"""Which published file a hypernet was converted from: what its folder, and every prediction made with it, records."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, final

from paramgen.errors import ForeignError
from paramgen.published.cursor import shown
from paramgen.storage.json_file import read_json_object

CONVERSION_RECORD: Final = "converted.json"
"""The file that says that a folder was converted, and so may be overwritten by another conversion."""

_MAX_BYTES: Final = 1_000_000


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """A published file; `repo` and `revision` (a commit) where it is known to be from the Hub."""

    family: str
    file: str
    bytes: int
    sha256: str
    parameters: int = 0  # of the hypernet
    repo: str | None = None
    revision: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what is known."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, data: object) -> "Origin":
        """Return the origin that `to_json` wrote; other fields are passed over, as a record has more.

        Raises:
            ForeignError: A field is missing or of another type.
        """
        if not isinstance(data, dict):
            raise ForeignError(f"The record of a published file is {shown(data)}; it must be a JSON object.")
        given = {field.name: data[field.name] for field in fields(cls) if field.name in data}
        for name, value in given.items():
            wanted = int if name in ("bytes", "parameters") else str
            if type(value) is not wanted:
                raise ForeignError(f"The record of a published file says {name} = {shown(value)}; {wanted} is needed.")
        if missing := [name for name in ("family", "file", "bytes", "sha256") if name not in given]:
            raise ForeignError(f"The record of a published file lacks {missing[0]!r}. Convert the file again.")
        return cls(**given)


def read_origin(file: Path, *, parameters: int) -> Origin:
    """Return the origin that the record of a conversion names, of a hypernet with so many parameters.

    Raises:
        ForeignError: The record cannot be read.
    """
    data = read_json_object(file, most=_MAX_BYTES, error=ForeignError, advice="Convert the published file again.")
    return replace(Origin.from_json(data), parameters=parameters)
