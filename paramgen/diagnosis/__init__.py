"""What an initialization looks like before a single step of training: one measure a file behind one abstract class."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, ClassVar, Final, Literal, final

from paramgen.diagnosis.trial import Trial
from paramgen.registry import Registry

Light = Literal["good", "watch", "bad"]
LIGHTS: Final[tuple[Light, ...]] = ("good", "watch", "bad")
Range = tuple[float, float]
ANY: Final[Range] = (float("-inf"), float("inf"))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Between which values a figure is good, or worth watching, and what to do where it is too small or too large."""

    good: Range
    watch: Range
    low: str = ""
    high: str = ""

    def light(self, value: float) -> Light:
        """Return which light the value gets; what is no number is bad."""
        if not isfinite(value):
            return "bad"
        return "good" if _within(value, self.good) else "watch" if _within(value, self.watch) else "bad"

    def advice(self, value: float) -> str:
        """Return the sentence for a value; empty where it is good."""
        if self.light(value) == "good":
            return ""
        return self.low if value < self.good[0] else self.high


def _within(value: float, bounds: Range) -> bool:
    return bounds[0] <= value <= bounds[1]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Figures layer by layer, in the order in which the network runs; a value is None where there is none."""

    layers: tuple[str, ...]
    values: Mapping[str, tuple[float | None, ...]]

    def to_json(self) -> list[dict[str, Any]]:
        """Return one object for each layer."""
        return [
            {"layer": layer, **{name: values[index] for name, values in self.values.items()}}
            for index, layer in enumerate(self.layers)
        ]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one measure saw of one network: its figures, layer by layer where it has such, and what it pools later."""

    figures: Mapping[str, float | None]
    profile: Profile | None = None
    pooled: Mapping[str, Any] = field(default_factory=dict)


class Measure(ABC):
    """One thing to know of a network before it is trained."""

    __slots__ = ()

    labels: ClassVar[Mapping[str, str]]
    """What each figure is called in a table."""
    thresholds: ClassVar[Mapping[str, Threshold]]
    """Of the figures that can be wrong."""
    trains: ClassVar[bool] = False
    """Whether it trains the network for some steps; the weights are put back."""
    pairs: ClassVar[bool] = False
    """Whether it compares networks with the first one that was measured."""

    @abstractmethod
    def observe(self, trial: Trial) -> Observation:
        """Measure one network."""

    def beside(self, observation: Observation, reference: Observation) -> Observation:  # noqa: ARG002
        """Return what was seen of a network beside the first one, where the measure compares them."""
        return observation

    def reads(self, pooled: Mapping[str, Any]) -> bool:
        """Whether what was read from a file can be pooled: most measures that train pool nothing."""
        return not pooled

    def figures(self, observations: Sequence[Observation]) -> Mapping[str, float | None]:
        """Return the figures of one initialization from those of its networks, one for each seed: their means."""
        return {name: mean_of([each.figures.get(name) for each in observations]) for name in observations[0].figures}


measures: Registry[Measure] = Registry("measure", "paramgen.diagnosis")


def is_figure(value: object) -> bool:
    """Whether a value that was read is a finite number, or None."""
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value))


def mean_of(values: Sequence[float | None]) -> float | None:
    """Return the mean of values, or None where one is missing or no number."""
    known = [value for value in values if value is not None and isfinite(value)]
    return sum(known) / len(known) if known and len(known) == len(values) else None
