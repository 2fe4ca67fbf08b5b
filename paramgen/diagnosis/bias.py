"""Inductive bias in nats: how rarely training generalizes well enough (Boopathy et al., 2024, arXiv:2406.15941).

Networks are trained on three quarters of the examples, each from its own initial weights or in its own order. Their
losses on the other quarter follow, as sums of squares do, a scaled noncentral chi-squared law, which is fitted to them;
the figure is -log P(loss <= target). Far in the tail, where the law's distribution function is zero in floating point,
Sankaran's normal approximation takes its place.
"""

from collections.abc import Mapping, Sequence
from math import inf, isfinite, log
from typing import Any, ClassVar, Final, final

import torch
from torch import Tensor

from paramgen._optional import require
from paramgen.diagnosis import Measure, Observation, Threshold, is_figure, measures
from paramgen.diagnosis.losses import losses_of
from paramgen.diagnosis.rank import ADAM_RATE
from paramgen.diagnosis.sample import NOISE, RANDOM_TOKENS
from paramgen.diagnosis.short_training import Batches, ShortTraining, refuse_large
from paramgen.diagnosis.trial import Trial
from paramgen.errors import OptionError

HYPOTHESES: Final = 32
MAX_TRAINED_OFTEN: Final = 3_000_000
BIAS_STEPS: Final = 100
_TARGET: Final = 0.5  # of the loss of guessing
_LEAST: Final = 30  # losses that a law is fitted to

Law = tuple[float, float, float]
"""Degrees of freedom, noncentrality and scale of a noncentral chi-squared law."""


@final
@measures.register("bias")
class InductiveBias(Measure):
    """The nats that the initialization and SGD lack to halve the loss of guessing on examples that were not learnt.

    They are -log P(loss <= target) over 32 runs of 100 steps of Adam. With 32 seeds, each run has its own initial
    weights; with fewer, runs of the same weights differ in the order of the examples.
    """

    __slots__ = ()

    trains: ClassVar[bool] = True
    labels: ClassVar[Mapping[str, str]] = {
        "nats": "-log P(test loss <= target)",
        "target": "target: half the loss of guessing",
        "loss": "mean test loss",
        "runs": "runs",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {}

    def observe(self, trial: Trial) -> Observation:
        """Train from these initial weights as often as it takes to have 32 runs of all seeds."""
        require("scipy", extra="diagnose")
        refuse_large(trial, "bias", MAX_TRAINED_OFTEN, f"trains the network {HYPOTHESES} times")
        targets = _targets(trial)
        runs = -(-HYPOTHESES // trial.seeds)
        losses = []
        for run in range(runs):
            trial.tell(f"run {run + 1} of {runs}")
            losses.append(_test_loss(trial, targets, run))
        return Observation(
            figures=dict.fromkeys(self.labels), pooled={"losses": losses, "target": _TARGET * guessing_loss(targets)}
        )

    def reads(self, pooled: Mapping[str, Any]) -> bool:
        """Whether it holds the losses of runs and their target."""
        losses = pooled.get("losses")
        return isinstance(losses, list) and all(map(is_figure, losses)) and isinstance(pooled.get("target"), float)

    def figures(self, observations: Sequence[Observation]) -> Mapping[str, float | None]:
        """Fit one law to the losses of all runs; a run that diverged did not reach the target."""
        losses = [loss for each in observations for loss in each.pooled["losses"]]
        target = observations[0].pooled["target"]
        known = [loss for loss in losses if loss is not None]
        nats = None
        if len(known) >= _LEAST and max(known) > min(known):
            nats = inductive_bias(fitted_law(known), target) - log(len(known) / len(losses))
        mean = sum(known) / len(known) if len(known) == len(losses) else None
        return {"nats": nats, "target": target, "loss": mean, "runs": float(len(losses))}


def _targets(trial: Trial) -> Tensor:
    """Return what the examples should be answered.

    Raises:
        OptionError: It cannot be learnt.
    """
    targets = Batches(trial).targets
    labelled = trial.sample.labels is not None or targets.dim() == 2
    if trial.sample.source in (NOISE, RANDOM_TOKENS) or targets.is_floating_point() or not labelled:
        raise OptionError(
            "bias asks what is learnt of examples that it did not see, and noise or random labels have nothing to "
            "learn. Name data: --data FOLDER --examples 512, or in Python data=(inputs, labels)"
        )
    if trial.sample.count < 8:
        raise OptionError(f"bias needs 8 examples or more, and there are {trial.sample.count}. Type: --examples 512")
    return targets


def _test_loss(trial: Trial, targets: Tensor, run: int) -> float | None:
    """Train once and return the mean loss of the examples that were kept back; None where it diverged."""
    learnt = trial.sample.count * 3 // 4
    batches = Batches(trial, part=learnt, order=run)
    with trial.kept():
        if not ShortTraining(trial, adam=True, batches=batches).run(0, BIAS_STEPS, lambda _: ADAM_RATE):
            return None
        with torch.no_grad(), trial.frozen():
            loss = float(losses_of(trial.scores(), targets)[learnt:].mean())
    return loss if isfinite(loss) else None


def guessing_loss(targets: Tensor) -> float:
    """Return the entropy of the answers in nats: the loss of guessing each as often as it is right."""
    shares = targets.flatten().bincount().double() / targets.numel()
    return float(-(shares[shares > 0] * shares[shares > 0].log()).sum())


def fitted_law(losses: Sequence[float]) -> Law:
    """Return the noncentral chi-squared law of losses, by maximum likelihood, its location being zero."""
    stats = require("scipy.stats", extra="diagnose")
    freedom, noncentrality, _, scale = stats.ncx2.fit(list(losses), *_guess(losses), floc=0.0)
    return float(freedom), float(noncentrality), float(scale)


def _guess(losses: Sequence[float]) -> tuple[float, float]:
    """Return degrees of freedom and noncentrality by the first moments, as a beginning for the fit."""
    values = torch.tensor(losses, dtype=torch.float64)
    ratio = float(values.mean() ** 2 / values.var().clamp(min=1e-12))
    return max(1.0, ratio), max(1.0, ratio / 2)


def inductive_bias(law: Law, target: float) -> float:
    """Return -log P(loss <= target) in nats."""
    freedom, noncentrality, scale = law
    ncx2 = require("scipy.stats", extra="diagnose").ncx2
    found = -float(ncx2.logcdf(target / scale, freedom, noncentrality))
    return found if isfinite(found) and found < 600 else sankaran(target / scale, freedom, noncentrality)


def sankaran(value: float, freedom: float, noncentrality: float) -> float:
    """Return -log P(X <= value) of a noncentral chi-squared X by Sankaran's normal approximation (1963), in nats."""
    if value <= 0:
        return inf
    mean, once, twice = freedom + noncentrality, freedom + 2 * noncentrality, freedom + 3 * noncentrality
    power = 1 - 2 / 3 * mean * twice / once**2
    spread = once / mean**2
    skew = (power - 1) * (1 - 3 * power)
    centre = 1 + power * spread * (power - 1 - 0.5 * (2 - power) * skew * spread)
    size = power * (2 * spread) ** 0.5 * (1 + 0.5 * skew * spread)
    z = ((value / mean) ** power - centre) / size
    return -float(torch.special.log_ndtr(torch.tensor(z, dtype=torch.float64)))
