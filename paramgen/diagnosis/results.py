"""What one measure found of one initialization: its figures, their lights, and advice."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from paramgen.diagnosis import Light, Measure, Profile, measures

WEIGHT_VALUES: Final = "weights"
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


def judged(measure: Measure, figures: Mapping[str, float | None]) -> tuple[dict[str, Light], tuple[str, ...]]:
    """Return the light of each figure that can be wrong, and a sentence for each that is."""
    known = {name: value for name in measure.thresholds if (value := figures.get(name)) is not None}
    lights = {name: measure.thresholds[name].light(value) for name, value in known.items()}
    advice = [measure.thresholds[name].advice(value) for name, value in known.items()]
    return lights, tuple(sentence for sentence in advice if sentence)


def labels_of(measure: str) -> Mapping[str, str]:
    """Return what the figures of a measure are called."""
    if measure == WEIGHT_VALUES:
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
