"""The initializer that measured best for a family of networks, from a table that comes with paramgen.

`measured.json` lists for each model family (`paramgen.graphs.analysis.model_family`) the initializers from which
networks trained significantly better than from the default initialization, best first. It is written from the
benchmarks' results by `python -m benchmarks.initialization.choose`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from importlib.resources import files
from math import isfinite, log
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, final

from paramgen.architectures import Architecture
from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.model_families import FAMILY_LABELS, MODEL_FAMILIES, TEXT_FAMILIES, ModelFamily
from paramgen.graphs.analysis.model_family import family_of
from paramgen.graphs.schema import Graph
from paramgen.initializers import (
    SHIPPED,
    TEXT,
    Choice,
    Initializer,
    NamedTensors,
    ResolvedInitializer,
    initializer_of,
    initializers,
)

AUTO, LIBRARY = "auto", "library"
# Of the hypernet that ships: chosen where they measured best.
MEASURED_CONTROLS: Final = ("matched:hypernet", "shuffled:hypernet")
Metric = Literal["accuracy", "perplexity"]
TABLE: Final = "measured.json"
MAX_EXTRAPOLATION: Final = 4  # times the parameters of the largest network that was measured
MANY: Final = 4  # so many names of networks are not said
MAX_RUN: Final = 500_000_000  # elements of a network that may be run without a request
_ADVICE: Final = "Make it again: python -m benchmarks.initialization.choose"


@final
@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured on networks of one family and size: the accuracy or perplexity of each initializer.

    The best one is first, `library` is last.
    """

    scores: Mapping[str, float | None]  # None: not measured
    metric: Metric = "accuracy"
    networks: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    steps: int = 0
    seeds: int = 0
    smallest: int = 0  # parameters of the smallest network; 0 where smaller ones are taken to be alike
    largest: int = 0  # parameters of the largest network

    def reason(
        self, chosen: str, family: ModelFamily, passed: Mapping[str, Sequence[str]] = MappingProxyType({})
    ) -> str:
        """Return one sentence on why an initializer was chosen.

        Args:
            chosen: The initializer.
            family: The network's family.
            passed: The better initializers that cannot be used here, by the reason.

        """
        others = [f"{' and '.join(names)} did better, but {hindrance}" for hindrance, names in passed.items()]
        if others and chosen == LIBRARY:
            return f"{FAMILY_LABELS[family]}: {'; '.join(others)}"
        return "; ".join((self._measured(chosen, family), *others))

    def beyond(self, family: ModelFamily, parameters: int) -> str:
        """Return the sentence that a network is too large for the measurements to apply to it."""
        return (
            f"{FAMILY_LABELS[family]}: nothing is known to be better for one of {parameters:,} parameters; the largest "
            f"that was measured has {self.largest:,}"
        )

    def _measured(self, chosen: str, family: ModelFamily) -> str:
        if not self.networks:
            return f"{FAMILY_LABELS[family]}: nothing is known to be better, as no such network was measured yet"
        sizes = f"{self.smallest:,} to {self.largest:,}" if self.smallest else f"up to {self.largest:,}"
        sizes = f"{self.largest:,}" if self.smallest == self.largest else sizes
        names = f", {' and '.join(self.networks)}" if self.smallest and len(self.networks) < MANY else ""
        on = (
            f"{_count(len(self.networks), 'network')} of this kind{names}, of {sizes} parameters "
            f"({', '.join(self.data)}; {_count(self.steps, 'step')}, {_count(self.seeds, 'seed')})"
        )
        library = self._score(LIBRARY)
        if chosen == LIBRARY:
            return (
                f"{FAMILY_LABELS[family]}: nothing is known to be better; none trained significantly better than "
                f"library ({library}) on {on}"
            )
        reached = self._score(chosen) if self.metric == "accuracy" else f"a perplexity of {self._score(chosen)}"
        return f"{FAMILY_LABELS[family]}: {chosen} reached {reached} and library {library} on {on}"

    def distance(self, parameters: int) -> float:
        """Return how far a network's size is from those measured, as the logarithm of a factor; 0: among them."""
        size, smallest = log(max(1, parameters)), log(max(1, self.smallest))
        return max(0.0, smallest - size, size - log(max(1, self.largest)))

    def _score(self, init: str) -> str:
        value = self.scores[init]
        if value is None:
            return "-"
        return f"{value:.1%}".replace("%", " %") if self.metric == "accuracy" else f"{value:.2f}"


@final
@dataclass(frozen=True, kw_only=True)
class Table:
    """What was measured on each family, as `measured.json` has it; `results` are files of cards/results."""

    results: tuple[str, ...]
    hypernets: Mapping[str, str]  # name -> sha256 of the weights of the shipped ones that were measured
    families: Mapping[ModelFamily, tuple[Measured, ...]]  # by size: small networks first
    sha256: str  # of the table's text

    @classmethod
    def parse(cls, text: str) -> "Table":
        """Read a table.

        Raises:
            OptionError: A family is missing, an initializer is unknown, or the order contradicts the numbers.

        """
        try:
            data = json.loads(text)
            given = {name: tuple(_measured(name, each) for each in sizes) for name, sizes in data["families"].items()}
            results, hypernets = tuple(map(str, data["results"])), dict(data["hypernets"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            what = f"{type(error).__name__}: {one_line(error)}"
            raise OptionError(f"{TABLE} is no table of measurements ({what}). {_ADVICE}") from error
        if missing := set(MODEL_FAMILIES) - set(given):
            raise OptionError(f"{TABLE} lacks the family {min(missing)!r}. {_ADVICE}")
        if empty := [name for name, sizes in given.items() if not sizes]:
            raise OptionError(f"{TABLE} says nothing of the family {min(empty)!r}. {_ADVICE}")
        if unknown := set(given) - set(MODEL_FAMILIES):
            raise OptionError(f"{TABLE} has the unknown family {min(unknown)!r}. {_ADVICE}")
        return cls(results=results, hypernets=hypernets, families=given, sha256=sha256(text.encode()).hexdigest())


@final
@initializers.register(AUTO)
@dataclass(frozen=True, kw_only=True)
class Auto(Initializer):
    """The initializer that measured best for such networks; says which and why. `library` where none was measured."""

    group: ClassVar[str] = "chosen"
    fills_something: ClassVar[bool] = False

    _tokenizer: str = ""  # of the language model
    _reader: Any = field(default=None, repr=False, compare=False)

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return the rules of the initializer that is chosen."""
        return self.resolve(architecture, graph).initializer.rules(architecture, graph)

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Yield the tensors of the initializer that is chosen."""
        return self.resolve(architecture, graph).tensors(architecture, graph, seed=seed)

    def resolve(self, architecture: Architecture, graph: Graph) -> ResolvedInitializer:
        """Return the best initializer for the network's family that can be used here, resolved itself."""
        family = family_of(graph)
        parameters = architecture.manifest.parameters
        measured = min(table().families[family], key=lambda each: each.distance(parameters))
        if measured.networks and parameters > MAX_EXTRAPOLATION * measured.largest:
            reason = measured.beyond(family, parameters)
            choice = Choice(init=LIBRARY, family=family, reason=reason)
            return ResolvedInitializer(initializer=_cached_initializer(LIBRARY), choice=choice)
        passed: dict[str, list[str]] = {}
        for init in measured.scores:
            initializer = _cached_initializer(init)
            if self._tokenizer:
                initializer = initializer.with_tokenizer(self._tokenizer, self._reader)
            hindrance = None if init == LIBRARY else _hindrance(initializer, architecture, graph)
            if hindrance is None:
                reason = measured.reason(init, family, passed)
                own = initializer.resolve(architecture, graph)  # `hypernet` is another one for texts: that one is named
                choice = Choice(init=own.choice.init if own.choice else init, family=family, reason=reason)
                return replace(own, choice=choice)
            passed.setdefault(hindrance, []).append(init)
        raise AssertionError("library, the last of every ranking, can always be used")

    def with_tokenizer(self, tokenizer: str, reader: Any = None) -> Initializer:
        """Return the same one, which passes the tokenizer on to what it chooses."""
        return replace(self, _tokenizer=tokenizer, _reader=reader)

    def describe(self) -> Mapping[str, Any]:
        """Return the table's sha256."""
        return {"measured": table().sha256}


@cache
def table() -> Table:
    """Return the table that comes with paramgen."""
    return Table.parse((files("paramgen.initializers") / TABLE).read_text(encoding="utf-8"))


def measured_on(described: Mapping[str, Any], family: ModelFamily) -> dict[str, Any]:
    """Return the number and largest size of the small networks of a shipped hypernet's card; empty for others.

    Args:
        described: What `Initializer.describe` returned.
        family: The family.

    """
    if described.get("sha256") != table().hypernets.get(TEXT if family in TEXT_FAMILIES else SHIPPED):
        return {}
    measured = table().families[family][0]
    return {"networks": len(measured.networks), "largest": measured.largest}


@cache  # a hypernet is read once
def _cached_initializer(init: str) -> Initializer:
    return initializer_of(init)


def _hindrance(initializer: Initializer, architecture: Architecture, graph: Graph) -> str | None:
    """Return why an initializer may not be chosen automatically; None where it may."""
    if hindrance := initializer.hindrance(architecture, graph):
        return hindrance
    if not initializer.runs_network:
        return None
    if architecture.module is None or architecture.example is None:
        return "it runs the network, and a graph alone cannot be run"
    if architecture.manifest.elements > MAX_RUN:
        return f"it runs the network, which has more than {MAX_RUN:,} elements"
    return None


def _measured(family: str, entry: Mapping[str, Any]) -> Measured:
    metric: Metric = "perplexity" if entry.get("metric") == "perplexity" else "accuracy"
    ranked = {str(each["init"]): each[metric] for each in entry["initializers"]}
    for init, value in ranked.items():
        initializer_of(init)  # an unknown name is an error of its own
        plain = isinstance(value, (int, float)) and isfinite(value) and (0 <= value <= 1 or metric == "perplexity")
        if (
            init.partition("?")[0] not in MEASURED_CONTROLS
            and (AUTO in init or ":" in init)
            or not (plain or value is None)
        ):
            raise OptionError(f"{TABLE} has the initializer {init!r} at {value} for {family!r}. {_ADVICE}")
    order = list(ranked)
    values = [-1.0 if value is None else value for value in ranked.values()]
    best_first = sorted(values, reverse=metric == "accuracy")
    if order[-1:] != [LIBRARY] or len(order) != len(entry["initializers"]) or values != best_first:
        raise OptionError(f"{TABLE} ranks {', '.join(order)} for {family!r}: best first, {LIBRARY} last. {_ADVICE}")
    networks = tuple(entry["networks"])
    if (None in ranked.values()) == bool(networks):
        raise OptionError(f"{TABLE} has {len(networks)} networks and values {values} for {family!r}. {_ADVICE}")
    return Measured(
        scores=ranked,
        metric=metric,
        networks=networks,
        data=tuple(entry["data"]),
        steps=entry["steps"],
        seeds=entry["seeds"],
        smallest=entry["smallest"],
        largest=entry["largest"],
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
