"""What an earlier result of a benchmark of starts has, so that it is not trained again."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final, final

from benchmarks.initialization.table import JUDGED
from paramgen.comparison import Protocol

_FROM: Final = ("commit", "date", "hardware", "versions", "known")


@final
class Known:
    """What of an earlier result was trained as it would be now.

    Args:
        result: The earlier result.
        protocol: Of now.
        data: Of now: the hash of each data set, by name.
        sha256: Of the hypernet's weights of now.

    """

    def __init__(self, result: Mapping[str, Any], protocol: Protocol, data: Mapping[str, str], *, sha256: str) -> None:
        alike = result["protocol"] == protocol.to_json() and result["versions"]["paramgen"] == version("paramgen")
        sets = [name for name, known in result["data"].items() if data.get(name) == known["sha256"]]
        rows = [*result["rows"], *result.get("partial", ())] if alike else []
        self._rows = {(row["data"], row["made_by"]): row for row in rows if row["data"] in sets}
        self._result = result
        self._same_hypernet = result["hypernet"]["sha256"] == sha256

    def row(self, data: str, made_by: str, start: str) -> Mapping[str, Any] | None:
        """Return the row that has a start's figures, if they are the same now."""
        row = self._rows.get((data, made_by), {"starts": {}})
        return row if start in row["starts"] and (not start.endswith(JUDGED) or self._same_hypernet) else None

    def to_json(self) -> dict[str, Any]:
        """Return where the rows come from."""
        kept = {key: self._result[key] for key in _FROM if key in self._result}
        return {**kept, "rows": sorted(f"{data} {row['network']}" for (data, _), row in self._rows.items())}


def known_row(known: Sequence[Known], data: str, made_by: str, start: str) -> Mapping[str, Any] | None:
    """Return the row that has a start's figures in the first of several results that has them."""
    found = (each.row(data, made_by, start) for each in known)
    return next((row for row in found if row is not None), None)
