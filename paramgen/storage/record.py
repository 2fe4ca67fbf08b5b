"""The record paramgen.json of a folder: its name, the version of its format, and how it is read."""

from pathlib import Path
from typing import Any, Final

from paramgen.errors import CheckError, one_line
from paramgen.storage.folder import MARK
from paramgen.storage.json_file import read_json_object

REPORT: Final = MARK
RECORD_VERSION: Final = 1
"""Of the record: it grows when entries change their names or meanings."""

MAX_RECORD: Final = 100_000_000
_AGAIN: Final = "Predict the folder again."


def read_record(folder: Path) -> dict[str, Any]:
    """Return the folder's paramgen.json; empty where somebody else wrote the folder.

    Raises:
        CheckError: It cannot be read, or is of another version of its format.

    """
    file = folder / REPORT
    if not file.is_file():
        return {}
    record = read_json_object(file, most=MAX_RECORD, error=CheckError, advice=_AGAIN)
    given = record.get("format_version")
    if type(given) is not int or given != RECORD_VERSION:
        raise CheckError(
            f"{file} has the format_version {one_line(repr(given))}; this version of paramgen reads {RECORD_VERSION}. "
            f"{_AGAIN}"
        )
    return record
