"""Every run of a comparison, one after the other: the grid of learning rates, then the best one for the other seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Final, final

from paramgen.comparison.initializers import Initializers, prediction_of
from paramgen.comparison.learning_rates import best_lr, runs_by_lr, tuning_seeds
from paramgen.comparison.protocol import Protocol
from paramgen.comparison.results import Metric
from paramgen.comparison.run_record import RunRecord
from paramgen.comparison.runs import RunId, Store
from paramgen.comparison.training import Job, train
from paramgen.errors import one_line
from paramgen.modifiers.constraints import Constraint

_NO_LR: Final[tuple[float, ...]] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """How far a comparison is, in training steps; `ended` is what was measured when a run has ended."""

    run: RunId
    done: int
    total: int
    ended: RunRecord | None = None


Progress = Callable[[Event], None]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class InitialWeights:
    """A state dict, what is to hold of it in training, and the seconds that it took to make and prepare."""

    state: Mapping[str, Any]
    constraint: Constraint | None
    seconds: float


@final
class Runner:
    """Makes the runs of one job after another, each once, and keeps them in the store.

    Args:
        requested: The initializers by name.
        protocol: How each of them is trained.
        store: Where runs that have ended are.
        jobs: How many jobs there will be.
        progress: Called after every part of a run, and when one has ended.

    """

    def __init__(
        self, requested: Initializers, protocol: Protocol, store: Store, *, jobs: int, progress: Progress | None
    ) -> None:
        self._initializers, self._protocol, self._store, self._progress = requested, protocol, store, progress
        tuned = len(tuning_seeds(protocol))
        runs = len(protocol.learning_rates) * tuned + protocol.seeds - tuned
        self._total = jobs * len(requested) * runs * protocol.steps  # so far: a grid may be widened
        self._done = 0

    def run(self, job: Job) -> None:
        """Search the learning rate of each initialization, then train the seeds that are left with it."""
        metric = job.task.describe().metric
        for init in self._initializers:
            best = self._best_lr(job, init, metric)
            for seed in range(len(tuning_seeds(self._protocol)), self._protocol.seeds):
                self._seed(job, init, seed, _NO_LR if best is None else (best,))

    def _best_lr(self, job: Job, init: str, metric: Metric) -> float | None:
        """Return the learning rate that ends best, of the grid and of what lies beyond its edges."""
        seeds = tuning_seeds(self._protocol)
        tried: list[float] = []
        missing = self._protocol.learning_rates
        runs: dict[tuple[float, int], RunRecord] = {}
        while True:
            for seed in seeds:
                runs |= self._seed(job, init, seed, missing)
            tried += missing
            best = best_lr(runs_by_lr(runs, self._protocol), metric)
            further = None if best is None else self._protocol.beyond(best, tried)
            if further is None:
                return best
            missing = (further,)
            self._total += len(seeds) * self._protocol.steps

    def _seed(
        self, job: Job, init: str, seed: int, learning_rates: Sequence[float]
    ) -> dict[tuple[float, int], RunRecord]:
        """Return the runs of a seed at some learning rates; initial weights are made once, and only if needed."""
        found: dict[tuple[float, int], RunRecord] = {}
        made: InitialWeights | None = None
        for lr in learning_rates:
            run = RunId(architecture=job.model.name, init=init, lr=lr, seed=seed)
            record = self._store.get(run)
            if record is None:
                try:
                    made = made or self._initial_weights(job, init, seed)
                    record = self._trained(job, run, made)
                except Exception as error:  # a network may fail in any way; the other runs go on
                    record = RunRecord.failure(f"{type(error).__name__}: {one_line(error)}")
                self._store.put(run, record)
            self._done += self._protocol.steps
            self._tell(run, 0, record)
            found[lr, seed] = record
        return found

    def _trained(self, job: Job, run: RunId, initial: InitialWeights) -> RunRecord:
        def advance(done: int) -> None:
            self._tell(run, done)

        found = train(job, initial.state, lr=run.lr, seed=run.seed, advance=advance, constraint=initial.constraint)
        found = replace(found, init_seconds=initial.seconds)
        held, parameters = initial.constraint, job.model.architecture.manifest.parameters
        if held is None or found.status == "failed":
            return found
        free = parameters - held.whole
        return replace(found, numbers=free + held.free, nbytes=4 * free + held.nbytes)

    def _initial_weights(self, job: Job, init: str, seed: int) -> InitialWeights:
        began = perf_counter()
        prediction = prediction_of(job.model, init, self._initializers[init], seed)
        state = prediction.state_dict()
        seconds = round(perf_counter() - began + prediction.initializer.seconds_before, 3)
        return InitialWeights(state=state, constraint=prediction.initializer.constraint(), seconds=seconds)

    def _tell(self, run: RunId, done: int, ended: RunRecord | None = None) -> None:
        if self._progress is not None:
            self._progress(Event(run=run, done=self._done + done, total=self._total, ended=ended))
