"""A row of a table of initializations: one network on one data set, trained from each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, final

from paramgen.comparison.results import ArchitectureResult, Curve, Edge, Metric, Spread
from paramgen.comparison.statistics import reached, sign

JUDGED: Final = "hypernet"
"""What a table compares with the best of all others."""


@final
@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a table keeps of one initialization of one network; `curve` is None where every run failed."""

    parameters: int = 0
    chance: float | None = None
    lr: float | None = None
    lr_at_edge: Edge | None = None
    by_lr: Mapping[str, Spread | None] | None = None
    steps: tuple[int, ...] = ()
    curve: Curve | None = None
    area: Spread | None = None
    seconds: Spread | None = None
    init_seconds: Spread | None = None
    failed: int | None = None
    reasons: tuple[str, ...] | None = None
    diverged: int | None = None
    at_chance: int | None = None
    commit: str | None = None  # that made it, where a table was made by several
    same_as: str | None = None  # it does only what this one does, so it was not trained

    @classmethod
    def of(cls, architecture: ArchitectureResult, *, commit: str | None = None) -> "Entry":
        """Return what to keep of a comparison of one initialization."""
        (result,) = architecture.initializations
        found = cls(
            parameters=architecture.parameters,
            chance=architecture.task.chance,
            by_lr=result.by_lr,
            failed=result.failed,
            reasons=result.reasons,
            diverged=result.diverged,
            commit=commit,
        )
        best = result.best
        if best is None:
            return found
        return replace(
            found,
            lr=best.lr,
            lr_at_edge=best.lr_at_edge,
            steps=best.steps,
            curve=best.curve,
            area=best.area,
            seconds=best.seconds,
            init_seconds=best.init_seconds,
            at_chance=best.at_chance,
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Entry":
        """Read what `to_json` returned."""
        given: dict[str, Any] = {name: data[name] for name in _PLAIN if name in data}
        given |= {name: Spread.from_json(data[name]) for name in _SPREADS if data.get(name) is not None}
        if "by_lr" in data:
            given["by_lr"] = {
                lr: None if each is None else Spread.from_json(each) for lr, each in data["by_lr"].items()
            }
        if data.get("curve") is not None:
            given["curve"] = Curve.from_json(data["curve"])
        given |= {name: tuple(data[name]) for name in ("steps", "reasons") if data.get(name) is not None}
        return cls(**given)

    @property
    def final(self) -> Spread | None:
        """Where training ended; None where every run failed."""
        return None if self.curve is None else self.curve.at(-1)

    @property
    def zero_shot(self) -> Spread | None:
        """What it has before the first step."""
        return None if self.curve is None else self.curve.at(0)

    def to_json(self) -> dict[str, Any]:
        """Return every field that is known, and the first and the last figure of the curve."""
        spreads = {name: getattr(self, name) for name in (*_SPREADS, "zero_shot", "final", "curve")}
        found = {name: getattr(self, name) for name in _PLAIN if getattr(self, name) is not None}
        found |= {name: each.to_json() for name, each in spreads.items() if each is not None}
        if self.by_lr is not None:
            found["by_lr"] = {lr: None if each is None else each.to_json() for lr, each in self.by_lr.items()}
        if self.reasons is not None:
            found["reasons"] = list(self.reasons)
        return {"lr": self.lr, "lr_at_edge": self.lr_at_edge, **found, "steps": list(self.steps)}


def with_figures(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return the entries, those that are the same as another one with its figures."""
    return {
        init: entry if entry.same_as is None else replace(entries[entry.same_as], same_as=entry.same_as)
        for init, entry in entries.items()
    }


_SPREADS: Final = ("area", "seconds", "init_seconds")
_PLAIN: Final = tuple(
    field.name for field in fields(Entry) if field.name not in (*_SPREADS, "by_lr", "curve", "steps", "reasons")
)


@final
@dataclass(frozen=True, kw_only=True)
class Row:
    """One network on one data set."""

    data: str
    network: str
    family: str
    domain: str  # what the hypernet knows of such data
    made_by: str  # the call or spec that builds the network
    beyond: bool  # wider and deeper than any network in the hypernet's training
    metric: Metric
    entries: Mapping[str, Entry]
    trained_family: bool | None = None  # whether the hypernet's training had such networks

    @classmethod
    def from_json(cls, data: Mapping[str, Any], metric: Metric) -> "Row":
        """Read what `to_json` returned."""
        about = {name: data[name] for name in ("data", "network", "family", "made_by", "beyond")}
        shared = {"parameters": data["parameters"]} | ({"chance": data["chance"]} if "chance" in data else {})
        entries = {init: Entry.from_json({**shared, **each}) for init, each in data["initializations"].items()}
        more = {"domain": data.get("domain", ""), "trained_family": data.get("trained_family")}
        return cls(**about, **more, metric=metric, entries=entries)

    @property
    def ended(self) -> dict[str, Spread]:
        """Where each initialization ended that has a result."""
        return {init: entry.final for init, entry in self.entries.items() if entry.final is not None}

    @property
    def best_simple(self) -> str | None:
        """The one that ended best of all but the hypernet."""
        others = {init: sign(self.metric) * end.mean for init, end in self.ended.items() if init != JUDGED}
        return max(others, key=lambda init: others[init], default=None)

    @property
    def parameters(self) -> int:
        """Of the network."""
        return next(iter(self.entries.values())).parameters

    def steps_to_best_simple(self, init: str) -> int | None:
        """Return after how many steps an initialization is where the best simple one ends; None: never."""
        entry, simple = self.entries[init], self.best_simple
        if simple is None or entry.curve is None:
            return None
        return reached(entry.curve.mean, entry.steps, self.ended[simple].mean, self.metric)

    def to_json(self) -> dict[str, Any]:
        """Return what the row is about and its initializations, with the steps of each to the best simple one."""
        chance = next(iter(self.entries.values())).chance
        kept = {init: entry.to_json() for init, entry in self.entries.items()}
        return {
            "data": self.data,
            "network": self.network,
            "family": self.family,
            **({} if self.trained_family is None else {"trained_family": self.trained_family}),
            "domain": self.domain,
            "made_by": self.made_by,
            "beyond": self.beyond,
            "parameters": self.parameters,
            **({} if chance is None else {"chance": chance}),
            "best_simple": self.best_simple,
            "initializations": {
                init: {
                    **{key: value for key, value in entry.items() if key not in ("parameters", "chance")},
                    "steps_to_best_simple": self.steps_to_best_simple(init),
                }
                for init, entry in kept.items()
            },
        }
