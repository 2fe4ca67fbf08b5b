"""What a diagnosis found, as plain dataclasses: the figures of each measure of each initialization, with advice."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Final, final

from paramgen.diagnosis import LIGHTS, Light, Measure, Profile, measures
from paramgen.errors.option_names import in_python

WEIGHTS: Final = "weights"
"""Of what is seen without running the network: numbers that are none."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureResult:
    """The figures of one measure of one initialization; without any, `reason` says why."""

    init: str
    measure: str
    figures: Mapping[str, float | None]
    lights: Mapping[str, Light]
    advice: tuple[str, ...]
    profile: Profile | None = None
    seconds: float = 0.0
    reason: str = ""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={shown_value(value)}" for name, value in self.figures.items())
        return f"MeasureResult({self.init!r}, {self.measure}: {shown or self.reason})"

    def to_json(self) -> dict[str, Any]:
        """Return every field that has something to say."""
        return {
            "init": self.init,
            "measure": self.measure,
            "figures": dict(self.figures),
            "lights": dict(self.lights),
            "advice": list(self.advice),
            **({} if self.profile is None else {"layers": self.profile.to_json()}),
            **({"reason": self.reason} if self.reason else {}),
            "seconds": round(self.seconds, 3),
        }


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What `paramgen.diagnose` returns: figures of initializations before training, and what is wrong with each.

    >>> diagnosis.advice
    ["scaled: Gradients vanish before they reach the first layers: use larger weights or residual sums."]
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
        from paramgen.diagnosis.table import header, rows
        from paramgen.modelcard.notebook import table

        advice = "".join(f"<p>{escape(in_python(sentence))}</p>" for sentence in self.advice)
        return table(repr(self), header(self), rows(self)) + advice

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


def judged(measure: Measure, figures: Mapping[str, float | None]) -> tuple[dict[str, Light], tuple[str, ...]]:
    """Return the light of each figure that can be wrong, and a sentence for each that is."""
    known = {name: value for name in measure.thresholds if (value := figures.get(name)) is not None}
    lights = {name: measure.thresholds[name].light(value) for name, value in known.items()}
    advice = [measure.thresholds[name].advice(value) for name, value in known.items()]
    return lights, tuple(sentence for sentence in advice if sentence)


def labels_of(measure: str) -> Mapping[str, str]:
    """Return what the figures of a measure are called."""
    if measure == WEIGHTS:
        return {"nonfinite": "weights that are no numbers"}
    return measures.get(measure).labels


def shown_value(value: float | None) -> str:
    """Return a figure as people read it."""
    if value is None:
        return "-"
    size = abs(value)
    if value == int(value) and size < 1e6:
        return f"{int(value):,}"
    return f"{value:.3g}" if 1e-3 <= size < 1e5 else f"{value:.1e}"
