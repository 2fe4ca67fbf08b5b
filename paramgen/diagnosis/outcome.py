"""The outcome of a diagnosis: every measure of every initialization, with what they were taken on."""

from dataclasses import dataclass
from html import escape
from typing import Any, final

from paramgen.diagnosis import LIGHTS
from paramgen.diagnosis.results import MeasureResult
from paramgen.diagnosis.table import header, rows
from paramgen.errors.option_names import in_python
from paramgen.modelcard.notebook import table


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What `paramgen.diagnose` returns: figures of initializations before training, and what is wrong with each.

    >>> diagnosis.advice
    ["library: Gradients vanish before they reach the first layers: use larger weights or residual sums."]
    >>> diagnosis.figure("he", "signal", "chi")
    1.003
    """

    architecture: str
    parameters: int
    inits: tuple[str, ...]
    results: tuple[MeasureResult, ...]
    examples: int
    data: str
    seeds: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        lights = ", ".join(f"{init}: {self._summary(init)}" for init in self.inits)
        return f"Diagnosis({self.architecture!r}, {self.parameters:,} parameters; {lights})"

    def _repr_html_(self) -> str:
        advice = "".join(f"<p>{escape(in_python(sentence))}</p>" for sentence in self.advice)
        return table(repr(self), header(self.inits), rows(self.inits, self.results)) + advice

    @property
    def advice(self) -> list[str]:
        """One sentence for each figure that is wrong, the initialization before it."""
        return [f"{each.init}: {sentence}" for each in self.results for sentence in each.advice]

    def of(self, init: str, measure: str) -> MeasureResult | None:
        """Return one measure of one initialization; None where it was not taken."""
        return next((each for each in self.results if (each.init, each.measure) == (init, measure)), None)

    def figure(self, init: str, measure: str, name: str) -> float | None:
        """Return one figure; None where it is not known."""
        found = self.of(init, measure)
        return None if found is None else found.figures.get(name)

    def to_json(self) -> dict[str, Any]:
        """Return every field."""
        return {
            "architecture": self.architecture,
            "parameters": self.parameters,
            "data": self.data,
            "examples": self.examples,
            "seeds": list(self.seeds),
            "notes": list(self.notes),
            "results": [each.to_json() for each in self.results],
        }

    def _summary(self, init: str) -> str:
        lights = [light for each in self.results if each.init == init for light in each.lights.values()]
        counts = {light: lights.count(light) for light in LIGHTS}
        return ", ".join(f"{count} {light}" for light, count in counts.items() if count) or "no figure"
