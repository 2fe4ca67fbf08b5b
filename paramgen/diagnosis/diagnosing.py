"""Diagnose initializations: build the network once, fill it by each initializer, and take every measure of each."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from paramgen.architectures import Inputs
from paramgen.diagnosis import Observation, measures
from paramgen.diagnosis.kept import KeptObservations
from paramgen.diagnosis.network import NetworkToDiagnose, networks_of, prepared
from paramgen.diagnosis.outcome import Diagnosis
from paramgen.diagnosis.results import WEIGHT_VALUES, MeasureResult, judged
from paramgen.diagnosis.trial import Trial
from paramgen.errors import OptionError, ParamgenError, UnknownNameError
from paramgen.slots.manifest import state_of

MAX_EXAMPLES: Final = 4096
MAX_SEEDS: Final = 1000
Progress = Callable[[str, int, int], None]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be measured, checked before anything is built."""

    what: tuple[str, ...]
    named: bool  # whether the measures were typed: one that fails is an error then
    seeds: tuple[int, ...]
    examples: int | None

    @property
    def trains(self) -> bool:
        """Whether one of the measures trains."""
        return any(measures.get(name).trains for name in self.what)

    @classmethod
    def of(cls, what: str | Sequence[str] | None, *, seed: int, seeds: int, examples: int | None) -> "Request":
        """Check what was typed."""
        for name, value, least, most in (("seeds", seeds, 1, MAX_SEEDS), ("examples", examples, 2, MAX_EXAMPLES)):
            if value is not None and not (type(value) is int and least <= value <= most):
                raise OptionError(f"--{name} is {value!r}; allowed are {least} to {most:,}. Type: --{name} {least}")
        if type(seed) is not int or not 0 <= seed < 2**63 - seeds:
            raise OptionError(f"The seed is {seed!r}; allowed are 0 to 2**63 - 1. Type: --seed 0")
        named = [word.strip() for word in (what.split(",") if isinstance(what, str) else what or ())]
        for word in named:
            if word not in measures.names():
                raise UnknownNameError.of("measure", word, measures.names(), "Type: --what signal,guessing")
        return cls(
            what=tuple(dict.fromkeys(named)) or DEFAULT_MEASURES,
            named=bool(named),
            seeds=tuple(range(seed, seed + seeds)),
            examples=examples,
        )


DEFAULT_MEASURES: Final = ("signal", "guessing", "gradient", "ntk", "proxies")
"""The measures that are taken where none is named, in this order: none of them trains. Others may need minutes."""


def diagnose(
    arch: "str | nn.Module | None",
    inits: Sequence[str] | None,
    request: Request,
    *,
    folders: Sequence[Path] = (),
    data: Any = None,
    overrides: Mapping[str, Any] | None = None,
    example_input: Inputs | None = None,
    tokenizer: str | None = None,
    kept: Path | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Measure the initial weights of every initializer, and of every folder, for one network.

    What measures that train find is kept in the folder `kept`, and read there where it was measured before.

    Raises:
        ParamgenError: The network, the data or an initializer cannot be used, or a measure that was named.
    """
    network = prepared(
        arch,
        inits,
        folders=folders,
        data=data,
        overrides=overrides,
        example_input=example_input,
        tokenizer=tokenizer,
        examples=request.examples,
        seed=request.seeds[0],
    )
    return diagnosis_of(network, request, kept=kept, progress=progress)


def diagnosis_of(
    network: NetworkToDiagnose, request: Request, *, kept: Path | None = None, progress: Progress | None = None
) -> Diagnosis:
    """Measure every initialization of a network that is built and has its examples."""
    _refuse_alone(network, request)
    results: list[MeasureResult] = []
    counted = _Counted(progress, len(network.columns) * len(request.what))
    seen = _MeasureTaker(KeptObservations(kept))
    for init in network.columns:
        results += _diagnosed(network, init, request, counted, seen)
    return Diagnosis(
        architecture=network.architecture.spec,
        parameters=network.architecture.manifest.parameters,
        inits=tuple(network.columns),
        results=tuple(results),
        examples=network.sample.count,
        data=network.sample.source,
        seeds=request.seeds,
        notes=tuple(network.notes),
    )


@final
class _Counted:
    """Says which measure of which initialization is being taken, and how many are done."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def begin(self, text: str) -> None:
        if self._progress is not None:
            self._progress(text, self._done, self._total)

    def detail(self, text: str) -> Callable[[str], None]:
        """Return what says how far a measure is."""
        return lambda further: self.begin(f"{text}, {further}")

    def end(self, text: str) -> None:
        self._done += 1
        self.begin(text)


@final
class _MeasureTaker:
    """Takes measures of networks; those that compare have the first network beside each."""

    def __init__(self, kept: KeptObservations) -> None:
        self._kept = kept
        self._first: dict[str, Observation] = {}

    def of(self, name: str, trial: Trial) -> Observation:
        measure = measures.get(name)()
        found = self._kept.observed(measure, name, trial)
        if measure.pairs:
            reference = self._first.setdefault(name, found)
            return found if reference is found else measure.beside(found, reference)
        return found


def _refuse_alone(network: NetworkToDiagnose, request: Request) -> None:
    """Raise an error where a measure compares networks and there is one."""
    pairs = [name for name in request.what if measures.get(name).pairs]
    held = [init for init in network.columns if init in network.held or len(request.seeds) == 1]
    if pairs and len(network.columns) == len(held) == 1:
        raise OptionError(
            f"{pairs[0]} compares networks, and there is one: {held[0]}. Type two: --init he --init orthogonal, or "
            "--folder A --folder B, or --seeds 2 where weights are drawn"
        )


def _diagnosed(
    network: NetworkToDiagnose, init: str, request: Request, counted: _Counted, taken: _MeasureTaker
) -> list[MeasureResult]:
    """Take every measure of one initialization, seed by seed: one network is in memory at a time."""
    seen: dict[str, list[Observation]] = {}
    seconds, reasons = dict.fromkeys(request.what, 0.0), dict[str, str]()
    for seed, tensors in networks_of(network, init, request.seeds):
        if broken := _broken(network, tensors):
            return [_no_numbers(init, broken)]
        requested = request.examples is not None
        trial = Trial(
            network.architecture, tensors, network.sample, seed=seed, requested=requested, graph=network.graph
        )
        trial.seeds = 1 if init in network.held else len(request.seeds)
        first = next(iter(network.columns)) == init and seed == request.seeds[0]
        if first:
            with torch.no_grad():
                trial.scores()  # a network that cannot run is no matter of one measure
        for name in request.what:
            counted.begin(f"{init}: {name}")
            trial.tell = counted.detail(f"{init}: {name}")
            begun = time.perf_counter()
            try:
                seen.setdefault(name, []).append(taken.of(name, trial))
            except ParamgenError as error:
                if request.named:
                    raise
                reasons[name] = error.message
            seconds[name] += time.perf_counter() - begun
            if seed == request.seeds[0]:
                counted.end(f"{init}: {name}")
    return [_result(init, name, seen.get(name, []), seconds[name], reasons.get(name, "")) for name in request.what]


def _result(init: str, name: str, observations: Sequence[Observation], seconds: float, reason: str) -> MeasureResult:
    measure = measures.get(name)()
    if reason or not observations:
        return MeasureResult(
            init=init, measure=name, figures={}, lights={}, advice=(), seconds=seconds, reason=reason or "not taken"
        )
    figures = dict(measure.figures(observations))
    lights, advice = judged(measure, figures)
    return MeasureResult(
        init=init,
        measure=name,
        figures=figures,
        lights=lights,
        advice=advice,
        profile=observations[0].profile,
        seconds=seconds,
    )


def _broken(network: NetworkToDiagnose, tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Count what is NaN or infinite in each parameter; a buffer may hold infinities, as masks do."""
    module = network.architecture.module
    assert module is not None  # refused before
    counts = {
        name: int((~tensors[name].isfinite()).sum())
        for name, parameter in state_of(module).items()
        if isinstance(parameter, nn.Parameter) and name in tensors
    }
    return {name: count for name, count in counts.items() if count}


def _no_numbers(init: str, broken: Mapping[str, int]) -> MeasureResult:
    """Say what is wrong with weights that are no numbers: nothing else of them can be measured."""
    count = sum(broken.values())
    return MeasureResult(
        init=init,
        measure=WEIGHT_VALUES,
        figures={"nonfinite": float(count)},
        lights={"nonfinite": "bad"},
        advice=(f"{count:,} weights are NaN or infinite, first in {next(iter(broken))}: fill them again.",),
    )
