"""How the distance from the initial weights grows with the steps of SGD (Hoffer et al., 2017, arXiv:1705.08741).

There it grows as the logarithm of the step, a log t + b, as a random walk on a random landscape does. The fit is by
least squares over steps 1, 2, 4, ... 128; r2 says how well it fits, and the exponent is that of the best power of t.
"""

from collections.abc import Mapping, Sequence
from math import log
from statistics import correlation, linear_regression
from typing import ClassVar, Final, final

from paramgen.diagnosis import Measure, Observation, Profile, Threshold, measures
from paramgen.diagnosis.laziness import stable_rate
from paramgen.diagnosis.short_training import MAX_TRAINED, ShortTraining, flat, refuse_large
from paramgen.diagnosis.trial import Trial

DRIFT_CHECKPOINTS: Final = tuple(2**power for power in range(8))


@final
@measures.register("drift")
class Drift(Measure):
    """The distance of the weights from the initial ones over 128 steps of SGD, and how well it grows with log t."""

    __slots__ = ()

    trains: ClassVar[bool] = True
    labels: ClassVar[Mapping[str, str]] = {
        "distance": "distance after 128 steps, relative",
        "slope": "slope over log t, relative",
        "r2": "R2 of the fit over log t",
        "exponent": "exponent of the best power of t",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {}

    def observe(self, trial: Trial) -> Observation:
        """Train for 128 steps, and note the distance at powers of two."""
        refuse_large(trial, "drift", MAX_TRAINED, "trains the network")
        weights, rate, done = flat(trial.trainable), stable_rate(trial), 0
        distances: list[float] = []
        with trial.kept():
            training = ShortTraining(trial)
            for step in DRIFT_CHECKPOINTS:
                if not training.run(done, step, lambda _: rate):
                    break
                done = step
                trial.tell(f"step {step} of {DRIFT_CHECKPOINTS[-1]}")
                distances.append(float((flat(trial.trainable) - weights).norm() / weights.norm().clamp(min=1e-30)))
        return Observation(
            figures=fitted(distances) if len(distances) == len(DRIFT_CHECKPOINTS) else dict.fromkeys(self.labels),
            profile=Profile(
                layers=tuple(f"step {step}" for step in DRIFT_CHECKPOINTS[: len(distances)]),
                values={"distance": tuple(distances)},
            ),
        )


def fitted(distances: Sequence[float]) -> dict[str, float | None]:
    """Return the fits of distances after 1, 2, 4, ... steps."""
    times = [log(step) for step in DRIFT_CHECKPOINTS]
    if min(distances) <= 0 or max(distances) == min(distances):
        return {"distance": distances[-1], "slope": None, "r2": None, "exponent": None}
    return {
        "distance": distances[-1],
        "slope": linear_regression(times, distances).slope,
        "r2": correlation(times, distances) ** 2,
        "exponent": linear_regression(times, [log(each) for each in distances]).slope,
    }
