"""The table of statistics of trained weights: one standard deviation for each role, at a few steps of the depth."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from paramgen.errors import HypernetError, one_line
from paramgen.graphs.analysis.weight_roles import WEIGHT_ROLES, WeightRole, known_role
from paramgen.storage.json_file import read_json_object

STATISTICS_KIND: Final = "statistics"
STATISTICS_VERSION: Final = 1
MAX_STATISTICS_BYTES: Final = 1_000_000
MAX_KNOTS: Final = 100
MAX_SOURCES: Final = 20
MAX_SOURCE_LENGTH: Final = 200  # letters
MAX_RELATIVE_STD: Final = 100.0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsTable:
    """Standard deviations by role, at equal steps from the first weight of a network to the last.

    Those of linear maps are times the root of the fan-in: they do not depend on the width.
    """

    std: Mapping[WeightRole, tuple[float, ...]]
    sources: Mapping[str, Any]  # what it was collected from

    def at(self, role: WeightRole, depth: float) -> float | None:
        """Return the standard deviation of a role at a depth from 0 to 1, by linear interpolation; None: unknown."""
        knots = self.std.get(role)
        if knots is None:
            return None
        place = depth * (len(knots) - 1)
        before = min(int(place), len(knots) - 1)
        after = min(before + 1, len(knots) - 1)
        return knots[before] + (place - before) * (knots[after] - knots[before])

    @classmethod
    def from_json(cls, data: Mapping[str, Any], file: object) -> "StatisticsTable":
        """Return the table of such values.

        Raises:
            HypernetError: A key is missing or unknown, or a number is out of bounds.
        """
        wanted = {"kind", "format_version", "sources", "std"}
        if data.keys() != wanted or (data["kind"], data["format_version"]) != (STATISTICS_KIND, STATISTICS_VERSION):
            raise HypernetError(
                f"{file} is no table of statistics, of version {STATISTICS_VERSION}: it has {one_line(sorted(data))}. "
                "Leave it out: --init statistics"
            )
        std = data["std"]
        if not isinstance(std, dict) or not _are_texts(data["sources"]):
            raise HypernetError(
                f"{file}: std must be an object, and sources one of short texts, or lists of them. Leave it out: "
                "--init statistics"
            )
        return cls(
            std={_known(role, file): _knots(knots, role, file) for role, knots in std.items()}, sources=data["sources"]
        )

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        std = {role: list(knots) for role, knots in self.std.items()}
        return {
            "kind": STATISTICS_KIND,
            "format_version": STATISTICS_VERSION,
            "sources": dict(self.sources),
            "std": std,
        }


def read_table(file: Path) -> StatisticsTable:
    """Read a table; nothing in it is trusted.

    Raises:
        HypernetError: It is too large or no such table.
    """
    return StatisticsTable.from_json(read_json_object(file, most=MAX_STATISTICS_BYTES, error=HypernetError), file)


def _are_texts(sources: object) -> bool:
    """Whether it is an object of a few texts, or lists of them: it is copied into records and cards."""
    if not isinstance(sources, dict) or len(sources) > MAX_SOURCES:
        return False
    values = [each for value in sources.values() for each in (value if isinstance(value, list) else [value])]
    return len(values) <= MAX_SOURCES and all(
        isinstance(each, str) and len(each) <= MAX_SOURCE_LENGTH for each in (*sources, *values)
    )


def _known(role: str, file: object) -> WeightRole:
    known = known_role(role)
    if known is None:
        raise HypernetError(f"{file} has the role {one_line(repr(role))}. Allowed: {', '.join(WEIGHT_ROLES)}")
    return known


def _knots(knots: object, role: str, file: object) -> tuple[float, ...]:
    given: list[Any] = knots if isinstance(knots, list) and len(knots) <= MAX_KNOTS else []
    found = tuple(float(each) for each in given if type(each) in (int, float) and 0 <= each <= MAX_RELATIVE_STD)
    if not found or len(found) < len(given):
        raise HypernetError(
            f"{file}: {role} is {one_line(repr(knots))}. Allowed: 1 to {MAX_KNOTS} numbers from 0 to "
            f"{MAX_RELATIVE_STD:g}"
        )
    return found
