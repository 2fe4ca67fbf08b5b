"""Compare starts: open the data, build the architectures, refuse what cannot be, then train run after run."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any, Final, final

from accelerate import Accelerator
from torch import Tensor, nn

from paramgen._optional import require
from paramgen.architectures import Inputs
from paramgen.architectures.overrides import split_spec
from paramgen.comparison.data.text import BYTES
from paramgen.comparison.material import Data, Material
from paramgen.comparison.measures import best_rate, grid_seeds, rates_of
from paramgen.comparison.protocol import Protocol
from paramgen.comparison.results import Results, results_of
from paramgen.comparison.runs import Run, Store
from paramgen.comparison.subjects import Asked, Subject, subject_of, try_out
from paramgen.comparison.tasks import Metric
from paramgen.comparison.training import Bench, train
from paramgen.errors import OptionError, one_line
from paramgen.graphs.graph_json import graph_hash
from paramgen.initializers import Chosen, Control, Initializer, initializer_of
from paramgen.initializers.library import LIBRARY
from paramgen.language.tokenizers import MOST
from paramgen.prediction import Prediction, hindrance_of
from paramgen.registry.synonyms import known_init

CACHE: Final = "cache"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """How far a comparison is, in steps; `ended` is set when a run has."""

    run: Run
    done: int
    total: int
    ended: Mapping[str, Any] | None = None


Progress = Callable[[Event], None]


def compare(
    architectures: Asked | Sequence[Asked],
    data: Data,
    inits: Sequence[str],
    protocol: Protocol,
    out: Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    example_input: Inputs | None = None,
    tokenizer: str | None = None,
    vocabulary: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Results:
    """Train every architecture from every start, and return what came of it.

    Args:
        architectures: What `predict` takes, live modules, or pairs of a name and a function that builds a module.
        data: A folder of class folders, a tar of it, a text, `torchvision:NAME`, `datasets:NAME`; or two `Pixels`.
        inits: The starts.
        protocol: How each is trained, all of them alike.
        out: Where runs and results are kept. A second call with the same settings goes on where the first ended.
        overrides: As for `predict`, for all architectures.
        example_input: As for `predict`, for all architectures.
        tokenizer: For a text: a folder, a tokenizer.json or a Hub repository. Without it, bytes are learnt, unless
            all architectures were given a larger `vocab_size`: a tokenizer of that many tokens is trained then.
        vocabulary: For a text: number of tokens of a tokenizer that is trained on it, and kept in `out`.
        cache: Where decoded images are kept; without it, in `out`.
        progress: Called after every part of a run, and when one has ended.

    Raises:
        ParamgenError: The data, an architecture or a start cannot be used, or `out` belongs to something else.

    """
    inits = [known_init(init) for init in inits]
    started = _initializers(inits)
    if protocol.seeds > 1:
        require("scipy", extra="compare")  # now, and not after hours of training
    if out is not None:
        require("matplotlib", extra="compare")
        _refuse_inside(out, data)
    accelerator = _accelerator()
    asked_for = _listed(architectures)
    material = Material(
        data,
        protocol,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        typed=typed_vocabulary(asked_for, overrides or {}),
        cache=out / CACHE if cache is None and out else cache,
    )
    started = {init: material.told(initializer) for init, initializer in started.items()}
    benches, idle = [], {}
    kind, answers, size = material.kind, material.answers, material.size  # the size is read from a file: once
    for asked in asked_for:
        subject = subject_of(asked, kind, answers, overrides=overrides, example=example_input, size=size)
        idle[subject.name] = _noted_starts(subject, started)
        task = material.task(subject)
        try_out(subject, next(task.train_batches(0, 2))[0], kind, answers)
        benches.append(Bench(subject=subject, task=task, protocol=protocol, accelerator=accelerator))
    _refuse_idle(started, idle)
    settings = _settings(benches, started, material)
    store = Store(out)
    store.refuse_others(settings)
    store.begin(settings)
    material.keep()
    if out is not None:
        material.keep_tokenizer(out / "tokenizer")
    worker = _Worker(started, protocol, store, len(benches), progress)
    for bench in benches:
        worker.run_all(replace(bench, task=bench.task.to(accelerator.device)))
    results = results_of(benches, list(started), store, settings, data=material.describe())
    if out is not None:
        results.write(out)
    return results


@final
class _Worker:
    """Makes the runs of one architecture after another, each once."""

    def __init__(
        self,
        starts: Mapping[str, Initializer],
        protocol: Protocol,
        store: Store,
        architectures: int,
        progress: Progress | None,
    ) -> None:
        self._starts, self._protocol, self._store, self._progress = starts, protocol, store, progress
        grid = len(protocol.rates) * len(grid_seeds(protocol))
        runs = grid + protocol.seeds - len(grid_seeds(protocol))
        self._total = architectures * len(starts) * runs * protocol.steps  # so far: a grid may be widened
        self._done = 0

    def run_all(self, bench: Bench) -> None:
        """Try a grid of rates, then the best rate for the seeds that are left; for every start alike."""
        metric: Metric = bench.task.describe()["metric"]
        for init in self._starts:
            rate = self._best_rate(bench, init, metric)
            for seed in range(len(grid_seeds(self._protocol)), self._protocol.seeds):
                self._seed(bench, init, seed, () if rate is None else (rate,))

    def _best_rate(self, bench: Bench, init: str, metric: Metric) -> float | None:
        """Return the rate that does best on the validation data, of the grid and of what lies beyond its edges."""
        seeds = grid_seeds(self._protocol)
        tried: list[float] = []
        missing: tuple[float, ...] = self._protocol.rates
        runs: dict[tuple[float, int], Mapping[str, Any]] = {}
        while True:
            for seed in seeds:
                runs |= self._seed(bench, init, seed, missing)
            tried += missing
            rate = best_rate(rates_of(runs, self._protocol, seeds=seeds), metric)
            further = None if rate is None else self._protocol.beyond(rate, tried)
            if further is None:
                return rate
            missing = (further,)
            self._total += len(seeds) * self._protocol.steps

    def _seed(
        self, bench: Bench, init: str, seed: int, rates: Sequence[float]
    ) -> dict[tuple[float, int], Mapping[str, Any]]:
        """Return the runs of one start and seed at some rates; the start is made once, and only where it is needed."""
        found: dict[tuple[float, int], Mapping[str, Any]] = {}
        made: tuple[Mapping[str, Tensor], float] | None = None
        for rate in rates:
            run = Run(architecture=bench.subject.name, init=init, rate=rate, seed=seed)
            record = self._store.get(run)
            if record is None:
                try:
                    made = made or self._start(bench, init, seed)
                    record = self._trained(bench, run, *made)
                except Exception as error:  # a network may fail in any way; the other runs go on
                    record = {"status": "failed", "reason": f"{type(error).__name__}: {one_line(error)}"}
                record = {**_named(run), **record}
                self._store.put(run, record)
            self._done += self._protocol.steps
            self._tell(run, 0, record)
            found[rate, seed] = record
        return found

    def _trained(self, bench: Bench, run: Run, state: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        def advance(done: int) -> None:
            self._tell(run, done)

        found = train(bench, state, rate=run.rate, seed=run.seed, advance=advance)
        return found | {"start_seconds": seconds}

    def _start(self, bench: Bench, init: str, seed: int) -> tuple[Mapping[str, Any], float]:
        began = perf_counter()
        state = _prediction(bench.subject, init, self._starts[init], seed).state_dict()
        return state, round(perf_counter() - began, 3)

    def _tell(self, run: Run, done: int, ended: Mapping[str, Any] | None = None) -> None:
        if self._progress is not None:
            self._progress(Event(run=run, done=self._done + done, total=self._total, ended=ended))


def _named(run: Run) -> dict[str, Any]:
    return {"architecture": run.architecture, "init": run.init, "rate": run.rate, "seed": run.seed}


def _prediction(subject: Subject, init: str, initializer: Initializer, seed: int) -> Prediction:
    return Prediction(
        architecture=subject.architecture,
        graph=subject.graph,
        initializer=initializer,
        init=init,
        seed=seed,
        dtype=None,
    )


def _initializers(inits: Sequence[str]) -> dict[str, Initializer]:
    """Return the starts by what was typed, their files read; refuse none, and the same one twice."""
    if not inits:
        raise OptionError("No start is named. Type: --init hypernet --init library")
    if len(set(inits)) < len(inits):
        twice = next(init for init in inits if inits.count(init) > 1)
        raise OptionError(f"The start {twice!r} is named twice. Type each --init once.")
    found = {init: initializer_of(init) for init in inits}
    for initializer in found.values():
        initializer.describe()
    return found


def _noted_starts(subject: Subject, starts: Mapping[str, Initializer]) -> dict[str, str]:
    """Ask every start for its rules; note what one chose, and return why others do nothing here of their own."""
    idle = {}
    for init, initializer in starts.items():
        settled = initializer.settled(subject.architecture, subject.graph)
        prediction = _prediction(subject, init, settled, 0)
        if initializer.fills_something and prediction.is_library:
            idle[init] = hindrance_of(initializer, prediction)
            subject.notes.append(f"{init} fills nothing of {subject.name}, whose row is library again: {idle[init]}.")
        elif isinstance(settled, Chosen):
            subject.notes.append(f"{init} chose {settled.init} for {subject.name}: {settled.reason}.")
    return idle


def _refuse_idle(starts: Mapping[str, Initializer], idle: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse to compare the library's own start with itself; `idle` has for each architecture why a start is that."""
    named = [init for init, initializer in starts.items() if initializer.fills_something]
    chosen = len(named) < len(starts) - (LIBRARY in starts)  # auto, which may have chosen library
    if chosen or not named or not all(set(named) <= set(each) for each in idle.values()):
        return
    name, why = next(iter(idle.items()))
    raise OptionError(
        f"{named[0]!r} fills nothing of {name!r}: {why[named[0]]}. So nothing is compared with library. Type another "
        "start: --init orthogonal"
    )


def _described(initializer: Initializer, benches: Sequence[Bench]) -> dict[str, Any]:
    """Return what identifies a start; where it chooses, that is what it chose for each architecture."""
    settled = {
        bench.subject.name: initializer.settled(bench.subject.architecture, bench.subject.graph) for bench in benches
    }
    chosen = {name: dict(start.describe()) for name, start in settled.items() if isinstance(start, (Chosen, Control))}
    own = initializer.describe() if len(chosen) < len(settled) else {}
    return {**own, **({"for": chosen} if chosen else {})}


def _refuse_inside(out: Path, data: Data) -> None:
    """Raise an error if our own pictures would be taken for data by the next call."""
    if isinstance(data, (str, Path)) and Path(data).is_dir() and out.resolve().is_relative_to(Path(data).resolve()):
        raise OptionError(f"The folder {str(out)!r} lies within the data, {str(data)!r}. Type another one: --out NAME")


def _listed(architectures: Asked | Sequence[Asked]) -> list[Asked]:
    """Return what was asked for as a list, each with a name of its own."""
    single = isinstance(architectures, (str, nn.Module)) or (
        isinstance(architectures, tuple)
        and len(architectures) == 2
        and callable(architectures[1])
        and not isinstance(architectures[1], nn.Module)
    )
    listed: list[Asked] = [architectures] if single else list(architectures)  # type: ignore[list-item, arg-type]
    if not listed:
        raise OptionError("No architecture is named. Type: --arch vit_b16")
    names = [each if isinstance(each, str) else each[0] for each in listed if isinstance(each, (str, tuple))]
    if len(set(names)) < len(names):
        raise OptionError(f"The architecture {max(names, key=names.count)!r} is named twice. Type each --arch once.")
    return listed


def typed_vocabulary(architectures: Sequence[Asked], overrides: Mapping[str, Any]) -> int | None:
    """Return the least of the vocabularies that were typed for all architectures, if each is larger than bytes need."""
    specs = [split_spec(each)[1] if isinstance(each, str) else {} for each in architectures]
    sizes = [{**typed, **overrides}.get("vocab_size") for typed in specs]
    known = [size for size in sizes if type(size) is int and size > BYTES]
    return min(*known, MOST) if len(known) == len(sizes) else None


def _accelerator() -> Accelerator:
    accelerator = Accelerator()
    if accelerator.num_processes > 1:
        raise OptionError(
            f"compare runs in one process; there are {accelerator.num_processes}. Start it without a launcher."
        )
    return accelerator


def _settings(benches: Sequence[Bench], starts: Mapping[str, Initializer], material: Material) -> dict[str, Any]:
    """Return everything that decides the results: with other settings, finished runs are of no use."""
    settings = {
        **material.protocol.to_json(),
        "architectures": {bench.subject.name: graph_hash(bench.subject.graph) for bench in benches},
        "inits": {init: _described(initializer, benches) for init, initializer in starts.items()},
        "data": material.identity,
        "mixed_precision": benches[0].accelerator.mixed_precision,
        "version": version("paramgen"),
    }
    found: dict[str, Any] = json.loads(json.dumps(settings))  # as a file gives them back
    return found
