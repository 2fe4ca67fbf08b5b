"""What an earlier result of a benchmark of initializations has, so that it is not trained again."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final, final

from benchmarks.initialization.rows import JUDGED, Entry, Row
from paramgen.comparison import Protocol
from paramgen.comparison.results import Metric

_FROM: Final = ("commit", "date", "hardware", "versions", "known")


@final
class Known:
    """What of an earlier result was trained as it would be now.

    Args:
        result: The earlier result.
        protocol: Of now.
        data: Of now: the hash of each data set, by name.
        hypernet: What identifies it, of now, as the result has it.

    """

    def __init__(
        self, result: Mapping[str, Any], protocol: Protocol, data: Mapping[str, str], *, hypernet: Mapping[str, Any]
    ) -> None:
        alike = result["protocol"] == protocol.to_json() and result["versions"]["paramgen"] == version("paramgen")
        sets = [name for name, known in result["data"].items() if data.get(name) == known["sha256"]]
        metric: Metric = result.get("metric", "accuracy")
        every = [Row.from_json(row, metric) for row in (*result["rows"], *result.get("partial", ()))] if alike else []
        self._rows = {(row.data, row.made_by): row for row in every if row.data in sets}
        self._result = result
        self._same_hypernet = all(result["hypernet"].get(key) == value for key, value in hypernet.items())

    def entry(self, data: str, made_by: str, init: str) -> Entry | None:
        """Return the figures of an initialization, if they are the same now."""
        row = self._rows.get((data, made_by))
        if row is None or init not in row.entries or (init.endswith(JUDGED) and not self._same_hypernet):
            return None
        found = row.entries[init]
        return found if found.same_as is None else Entry(same_as=found.same_as)

    def to_json(self) -> dict[str, Any]:
        """Return where the rows come from."""
        kept = {key: self._result[key] for key in _FROM if key in self._result}
        return {**kept, "rows": sorted(f"{row.data} {row.network}" for row in self._rows.values())}


def known_entry(known: Sequence[Known], data: str, made_by: str, init: str) -> Entry | None:
    """Return the figures of an initialization in the first of several results that has them."""
    found = (each.entry(data, made_by, init) for each in known)
    return next((entry for entry in found if entry is not None), None)
