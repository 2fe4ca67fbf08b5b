"""How far one step that helps some examples harms others (Mircea et al., 2025, arXiv:2506.05447).

Of the changes of the losses in one step, D = 1 - |sum| / sum of absolute values: 0 where every example gains, 1 where
what some gain is what others lose. The step goes down the gradient of all examples, a thousandth of the weights' norm
long.
"""

from collections.abc import Mapping
from typing import ClassVar, Final, final

import torch

from paramgen.diagnosis import Measure, Observation, Threshold, measures
from paramgen.diagnosis.losses import losses_of
from paramgen.diagnosis.short_training import flat, set_flat
from paramgen.diagnosis.signal import finite
from paramgen.diagnosis.trial import Trial

_STEP: Final = 1e-3  # relative to the norm of the weights: so short that losses change as their gradients say


@final
@measures.register("interference")
class Interference(Measure):
    """What one step gains on some examples and loses on others: D, and the share of the examples that lose."""

    __slots__ = ()

    labels: ClassVar[Mapping[str, str]] = {
        "interference": "D: gains that are others' losses",
        "losing": "examples that a step harms",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "interference": Threshold(
            good=(0.0, 0.5),
            watch=(0.0, 0.9),
            high="What a step gains on some examples it loses on others, as the network hardly tells them apart: use "
            "normalization, centred data or fewer layers.",
        ),
    }

    def observe(self, trial: Trial) -> Observation:
        """Take one step and look at each example's loss before and after it."""
        targets = trial.targets(trial.scores().detach())
        losses = losses_of(trial.scores(), targets)
        weights = flat(trial.trainable)
        if not losses.requires_grad:
            return Observation(figures={"interference": None, "losing": None})
        gradient = flat(list(torch.autograd.grad(losses.mean(), trial.trainable, materialize_grads=True)))
        size = gradient.norm()
        if not bool(size > 0) or not bool(size.isfinite()):
            return Observation(figures={"interference": None, "losing": None})
        with trial.kept(), torch.no_grad():
            set_flat(trial, weights - _STEP * weights.norm().clamp(min=_STEP) / size * gradient)
            after = losses_of(trial.scores(), targets)
        changes = (after - losses.detach()).double()
        return Observation(
            figures={
                "interference": finite(interference_of(changes)),
                "losing": float((changes > 0).double().mean()),
            }
        )


def interference_of(changes: torch.Tensor) -> float | None:
    """Return D of the changes of losses; None where none of them changed."""
    total = changes.abs().sum()
    return float(1 - changes.sum().abs() / total) if bool(total > 0) else None
