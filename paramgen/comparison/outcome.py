"""The outcome of a comparison: what was measured, with what it was measured on and by what."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, final

from paramgen.comparison.protocol import Protocol
from paramgen.comparison.results import ArchitectureResult
from paramgen.comparison.run_record import RESULTS_VERSION
from paramgen.comparison.table import header, rows
from paramgen.errors import one_line
from paramgen.errors.option_names import in_python
from paramgen.modelcard.notebook import table


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DataSummary:
    """What was trained and tested on: its name, a hash of its content, and how it was divided."""

    name: str
    sha256: str
    classes: tuple[str, ...] | None  # None for a text
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return every field."""
        classes = None if self.classes is None else list(self.classes)
        return {"name": self.name, "sha256": self.sha256, "classes": classes, "notes": list(self.notes)}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a comparison was made: commit of paramgen's checkout, device, versions of libraries."""

    commit: str | None  # None where paramgen was installed from a wheel
    device: str
    processor: str
    threads: int
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return commit, hardware and versions."""
        hardware = {"device": self.device, "name": self.processor, "threads": self.threads}
        return {"commit": self.commit, "hardware": hardware, "versions": dict(self.versions)}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What `paramgen.compare` returns: which initialization trains best, and every figure behind it.

    >>> comparison.conclusion[0]
    "No initializer is better than another here: after 200 steps all 2 are at 98.1 %."
    >>> comparison.architectures[0].initializations[0].best.final.mean
    0.981
    """

    architectures: tuple[ArchitectureResult, ...]
    data: DataSummary
    protocol: Protocol
    settings: Mapping[str, Any]  # all that decides the figures, as JSON
    environment: Environment

    def __repr__(self) -> str:
        inits = ", ".join(dict.fromkeys(each.init for one in self.architectures for each in one.initializations))
        names = ", ".join(one.name for one in self.architectures)
        return f"Comparison({one_line(f'{inits} on {names}: {self.conclusion[0]}')})"

    def _repr_html_(self) -> str:
        tables = [table(one.name, header(one), rows(one)) for one in self.architectures]
        return "".join(f"<p>{escape(in_python(sentence))}</p>" for sentence in self.conclusion) + "".join(tables)

    @property
    def conclusion(self) -> list[str]:
        """What it says, in sentences."""
        alone = len(self.architectures) == 1
        return [
            sentence if alone else f"{each.name}: {sentence}"
            for each in self.architectures
            for sentence in each.conclusion.sentences
        ]

    def to_json(self) -> dict[str, Any]:
        """Return all of it, as results.json has it."""
        return {
            "format_version": RESULTS_VERSION,
            "conclusion": self.conclusion,
            "data": self.data.to_json(),
            "protocol": self.protocol.to_json(),
            "settings": dict(self.settings),
            "architectures": [each.to_json() for each in self.architectures],
            **self.environment.to_json(),
        }
