"""Lazy or rich: how far weights, tangent kernel and features are from the initial ones after a short training.

In lazy training the weights hardly move and the tangent kernel stays (Chizat et al., 2019, arXiv:1812.07956). Its
alignments are Tr(A B) / (|A| |B|), of the kernels and of the features' Gram matrices before and after (Liu et al.,
2024, arXiv:2310.08513). Where the loss does not fall by a tenth nothing was learnt, and they are not known.
"""

from collections.abc import Mapping
from typing import ClassVar, Final, final

from torch import Tensor

from paramgen.diagnosis import Measure, Observation, Threshold, measures
from paramgen.diagnosis.ntk import rows_for, tangent_kernel
from paramgen.diagnosis.rate import top_eigenvalue
from paramgen.diagnosis.recorder import record
from paramgen.diagnosis.short_training import MAX_TRAINED, ShortTraining, flat, loss_over, refuse_large
from paramgen.diagnosis.signal import finite
from paramgen.diagnosis.trial import Trial

LAZINESS_STEPS: Final = 100
LARGEST_STABLE_RATE: Final = 1.0
LEARNT: Final = 0.9


@final
@measures.register("laziness")
class Laziness(Measure):
    """How weights, tangent kernel and features change in 100 steps of SGD at a stable learning rate."""

    __slots__ = ()

    trains: ClassVar[bool] = True
    labels: ClassVar[Mapping[str, str]] = {
        "learnt": "loss after / before",
        "moved": "change of the weights, relative",
        "kernel": "alignment of the tangent kernels",
        "features": "alignment of the features",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "learnt": Threshold(
            good=(0.0, LEARNT),
            watch=(0.0, 0.99),
            high="SGD learns next to nothing in 100 steps at a stable learning rate: use normalization, or weights of "
            "another scale, such as he.",
        ),
        "kernel": Threshold(
            good=(float("-inf"), 0.99),
            watch=(float("-inf"), 0.9999),
            high="The tangent kernel stays as it is, so features are hardly learnt (lazy): use smaller initial "
            "weights.",
        ),
    }

    def observe(self, trial: Trial) -> Observation:
        """Train, and compare what was before with what is after."""
        refuse_large(trial, "laziness", MAX_TRAINED, "trains the network")
        rows = rows_for(trial)
        before, features, weights = tangent_kernel(trial, rows), trial.recorded.features, flat(trial.trainable)
        rate = stable_rate(trial)
        with trial.kept():
            training = ShortTraining(trial)
            targets = training.batches.targets
            first = loss_over(trial, targets)
            for done in range(0, LAZINESS_STEPS, 10):
                trial.tell(f"step {done} of {LAZINESS_STEPS}")
                if not training.run(done, done + 10, lambda _: rate):
                    return Observation(figures=dict.fromkeys(self.labels))
            learnt, moved = loss_over(trial, targets) / first, (flat(trial.trainable) - weights).norm() / weights.norm()
            if not learnt <= LEARNT:
                known = {"learnt": finite(learnt), "moved": finite(float(moved))}
                return Observation(figures=dict.fromkeys(self.labels) | known)
            after, changed = tangent_kernel(trial, rows), record(trial).features
        return Observation(
            figures={
                "learnt": finite(learnt),
                "moved": finite(float(moved)),
                "kernel": cosine_of(before, after),
                "features": None if features is None or changed is None else cosine_of(_gram(features), _gram(changed)),
            }
        )


def stable_rate(trial: Trial) -> float:
    """Return half of the learning rate at which gradient descent becomes unstable, 1 / curvature, and 1 at most."""
    curvature = top_eigenvalue(trial)
    return min(LARGEST_STABLE_RATE, 1 / curvature) if curvature > 0 else LARGEST_STABLE_RATE


def cosine_of(one: Tensor, other: Tensor) -> float | None:
    """Return Tr(A B) / (|A| |B|) of two symmetric matrices; None where one of them is zero or no number."""
    found = (one * other).sum() / (one.norm() * other.norm())
    return finite(float(found))


def _gram(features: Tensor) -> Tensor:
    rows = features[:512].double().flatten(1)
    return rows @ rows.T
