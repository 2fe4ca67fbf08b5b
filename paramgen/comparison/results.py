"""What a comparison measured, as plain dataclasses: a figure with its spread, a curve, an initialization, a network."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any, Literal, final

from paramgen.initializers.auto import Metric as Metric

Edge = Literal["smallest", "largest"]


def _floats(given: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in given)


@final
@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over seeds: its mean, its sample standard deviation (0 for one seed) and the values themselves."""

    mean: float
    std: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return mean and standard deviation of some values, all rounded to six digits."""
        std = round(stdev(values), 6) if len(values) > 1 else 0.0
        return cls(mean=round(mean(values), 6), std=std, values=tuple(round(value, 6) for value in values))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Spread":
        """Read what `to_json` returned."""
        return cls(mean=float(data["mean"]), std=float(data["std"]), values=_floats(data["values"]))

    def to_json(self) -> dict[str, Any]:
        """Return mean, std and values."""
        return {"mean": self.mean, "std": self.std, "values": list(self.values)}


@final
@dataclass(frozen=True, slots=True)
class Curve:
    """A figure at some steps of training, over seeds; `values` has one row for each of the steps."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, by_seed: Sequence[Sequence[float]]) -> "Curve":
        """Return the curve of several runs, one row of values for each run."""
        points = [Spread.of(values) for values in zip(*by_seed, strict=True)]
        return cls(
            mean=tuple(point.mean for point in points),
            std=tuple(point.std for point in points),
            values=tuple(point.values for point in points),
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Curve":
        """Read what `to_json` returned."""
        return cls(
            mean=_floats(data["mean"]), std=_floats(data["std"]), values=tuple(_floats(row) for row in data["values"])
        )

    def __repr__(self) -> str:
        return f"Curve({len(self.mean)} points, {self.mean[0]:.4g} to {self.mean[-1]:.4g})"

    def at(self, index: int) -> Spread:
        """Return the figure at one of the steps; -1 is the last."""
        return Spread(mean=self.mean[index], std=self.std[index], values=self.values[index])

    def to_json(self) -> dict[str, Any]:
        """Return mean, std and values."""
        return {"mean": list(self.mean), "std": list(self.std), "values": [list(row) for row in self.values]}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far one mean lies above another, with its 95 % confidence intervals."""

    mean: float
    interval: tuple[float, float]  # Welch's
    paired: tuple[float, float] | None  # of the differences seed by seed; None where fewer than two seeds are shared
    significant: bool  # Welch's interval leaves zero out, and the means are one answer apart at least

    def to_json(self) -> dict[str, Any]:
        """Return every field."""
        return {
            "mean": self.mean,
            "interval": list(self.interval),
            "paired": None if self.paired is None else list(self.paired),
            "significant": self.significant,
        }


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """The difference of an initialization from another, `init`."""

    init: str
    difference: Difference

    def to_json(self) -> dict[str, Any]:
        """Return the other's name and the difference."""
        return {"init": self.init, **self.difference.to_json()}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StepsToBestSimple:
    """After how many steps an initialization is where the best simple one ends; None where it never is."""

    target: float  # where that one ends
    mean_curve: int | None
    values: tuple[int | None, ...]  # of each seed's own curve

    def to_json(self) -> dict[str, Any]:
        """Return every field."""
        return {"target": self.target, "mean_curve": self.mean_curve, "values": list(self.values)}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSummary:
    """What was learned and tested on, and what guessing reaches; a field of the other kind of data is None."""

    metric: Metric
    chance: float  # what guessing by the training data's frequencies reaches
    at_chance_up_to: float  # a run that ends no better is said to be guessing
    unit: str  # what is counted: an image, a byte or a token
    train: int
    validation: int
    test: int
    classes: int | None = None
    shape: tuple[int, ...] | None = None  # channels, height, width
    mean: tuple[float, ...] | None = None  # by channel
    std: tuple[float, ...] | None = None
    uniform: float | None = None  # loss where every token is equally likely
    vocabulary: int | None = None
    length: int | None = None  # of a window, in tokens
    bytes_per_token: float | None = None  # of the text tested on, where a token is more than a byte

    @property
    def guess(self) -> float:
        """What a run that diverged counts as: guessing, which for a text gives every token the same probability."""
        return self.chance if self.uniform is None else self.uniform

    def to_json(self) -> dict[str, Any]:
        """Return every field that this kind of data has."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AtBestLr:
    """The runs of an initialization at its best learning rate, all seeds together."""

    lr: float
    lr_at_edge: Edge | None  # whether it is the smallest or the largest that was tried
    seeds: tuple[int, ...]
    diverged: int
    at_chance: int  # runs that ended no better than guessing
    steps: tuple[int, ...]
    curve: Curve
    area: Spread  # mean height of the curves
    seconds: Spread  # of training
    init_seconds: Spread  # of making the initial weights
    numbers: int | None = None  # that are trained, where a constraint leaves fewer than parameters
    nbytes: int | None = None  # that these take in float32, with what says which they are

    def __repr__(self) -> str:
        return f"AtBestLr(lr={self.lr:g}, final={self.final.mean:.4g} ± {self.final.std:.2g}, {len(self.seeds)} seeds)"

    @property
    def zero_shot(self) -> Spread:
        """The figure before the first step."""
        return self.curve.at(0)

    @property
    def final(self) -> Spread:
        """The figure after the last step."""
        return self.curve.at(-1)

    @property
    def by_seed(self) -> dict[int, float]:
        """Where each seed ended."""
        return dict(zip(self.seeds, self.final.values, strict=True))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "AtBestLr":
        """Read what `to_json` returned."""
        return cls(
            lr=float(data["lr"]),
            lr_at_edge=data["lr_at_edge"],
            seeds=tuple(data["seeds"]),
            diverged=int(data["diverged_at_lr"]),
            at_chance=int(data["at_chance"]),
            steps=tuple(data["steps"]),
            curve=Curve.from_json(data["curve"]),
            area=Spread.from_json(data["area"]),
            seconds=Spread.from_json(data["seconds"]),
            init_seconds=Spread.from_json(data["init_seconds"]),
            numbers=data.get("numbers"),
            nbytes=data.get("nbytes"),
        )

    def to_json(self) -> dict[str, Any]:
        """Return every field, and the first and the last figure of the curve."""
        return {
            "lr": self.lr,
            "lr_at_edge": self.lr_at_edge,
            "seeds": list(self.seeds),
            "diverged_at_lr": self.diverged,
            "at_chance": self.at_chance,
            "steps": list(self.steps),
            "curve": self.curve.to_json(),
            "zero_shot": self.zero_shot.to_json(),
            "final": self.final.to_json(),
            "area": self.area.to_json(),
            "seconds": self.seconds.to_json(),
            "init_seconds": self.init_seconds.to_json(),
            **({} if self.numbers is None else {"numbers": self.numbers, "nbytes": self.nbytes}),
        }


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class InitializationResult:
    """All figures of one initialization; `best` is None where every run failed."""

    init: str
    simple: bool  # whether no trained model makes it
    by_lr: Mapping[str, Spread | None]  # what each learning rate reached on the validation data
    failed: int
    reasons: tuple[str, ...]  # of the runs that failed
    diverged: int
    best: AtBestLr | None = None
    steps_to_best_simple: StepsToBestSimple | None = None
    against: Against | None = None  # the default initialization, or the best simple one where that was not trained

    def __repr__(self) -> str:
        return f"InitializationResult({self.init!r}, {'every run failed' if self.best is None else self.best})"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "InitializationResult":
        """Read what `to_json` returned; what it is compared with is left out."""
        return cls(
            init=data["init"],
            simple=data["simple"],
            by_lr={lr: None if each is None else Spread.from_json(each) for lr, each in data["by_lr"].items()},
            failed=int(data["failed"]),
            reasons=tuple(data["reasons"]),
            diverged=int(data["diverged"]),
            best=None if data["lr"] is None else AtBestLr.from_json(data),
        )

    def to_json(self) -> dict[str, Any]:
        """Return every field; those of `best` stand beside the others."""
        steps, against = self.steps_to_best_simple, self.against
        return {
            "init": self.init,
            "simple": self.simple,
            "by_lr": {lr: None if each is None else each.to_json() for lr, each in self.by_lr.items()},
            "failed": self.failed,
            "reasons": list(self.reasons),
            "diverged": self.diverged,
            **({"lr": None, "lr_at_edge": None} if self.best is None else self.best.to_json()),
            "steps_to_best_simple": None if steps is None else steps.to_json(),
            "against": None if against is None else against.to_json(),
        }


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """Which initialization is best, if one is; those that are statistically tied for first; and sentences."""

    best: str | None
    tied: tuple[str, ...]
    sentences: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return every field."""
        return {"best": self.best, "tied": list(self.tied), "sentences": list(self.sentences)}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureResult:
    """What was measured on one architecture."""

    name: str
    spec: str
    parameters: int
    task: TaskSummary
    notes: tuple[str, ...]
    best_simple: str | None
    initializations: tuple[InitializationResult, ...]
    conclusion: Conclusion
    per_step: int | None = None  # images, bytes or tokens that a training step reads

    def __repr__(self) -> str:
        return f"ArchitectureResult({self.name!r}, {', '.join(map(repr, self.initializations))})"

    def named(self, init: str | None) -> InitializationResult | None:
        """Return the result of an initialization, by what was typed."""
        return next((each for each in self.initializations if each.init == init), None)

    def to_json(self) -> dict[str, Any]:
        """Return every field."""
        return {
            "name": self.name,
            "spec": self.spec,
            "parameters": self.parameters,
            "per_step": self.per_step,
            "task": self.task.to_json(),
            "notes": list(self.notes),
            "best_simple": self.best_simple,
            "initializations": [each.to_json() for each in self.initializations],
            "conclusion": self.conclusion.to_json(),
        }
