"""Whether runs that differ a little end in one basin: the loss between their ends (Altintas et al., 2025).

After a share of training the weights get Gaussian noise with each tensor's std, all of it 1e-4 of the initial weights'
norm, and both go on alike (arXiv:2506.13234). The barrier is the most by which the loss on the line between their ends
exceeds the line between their losses, at 11 points, in nats. Ends are compared as they are, not after a permutation of
units.
"""

from collections.abc import Mapping
from math import isfinite
from typing import ClassVar, Final, final

import torch
from torch import Tensor

from paramgen.diagnosis import Measure, Observation, Profile, Threshold, measures
from paramgen.diagnosis.laziness import stable_rate
from paramgen.diagnosis.short_training import (
    MAX_TRAINED,
    Schedule,
    ShortTraining,
    cosine,
    flat,
    loss_over,
    refuse_large,
    set_flat,
)
from paramgen.diagnosis.trial import Trial
from paramgen.slots.init_program import slot_generator

BARRIER_STEPS: Final = 200
SIGMA: Final = 1e-4
PARTING_SHARES: Final = (0.0, 0.05, 0.2)
MOMENTUM: Final = 0.9
BARRIER_RATE: Final = 0.1
_POINTS: Final = 11

Barrier = tuple[float, float]
"""The barrier in nats, and the distance of the ends relative to the norm of the initial weights."""


@final
@measures.register("barrier")
class LossBarrier(Measure):
    """The loss between the ends of two runs of 200 steps that were made to differ after 0, 5 and 20 % of them."""

    __slots__ = ()

    trains: ClassVar[bool] = True
    labels: ClassVar[Mapping[str, str]] = {
        "start": "barrier, perturbed at the start",
        "early": "barrier, perturbed after 5 %",
        "late": "barrier, perturbed after 20 %",
        "distance": "distance of the ends, from the start",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "late": Threshold(
            good=(float("-inf"), 0.1),
            watch=(float("-inf"), 1.0),
            high="Runs that differ by next to nothing after a fifth of training end in different basins: use "
            "normalization or a lower learning rate before weights of several runs are averaged.",
        ),
    }

    def observe(self, trial: Trial) -> Observation:
        """Train once, and once more from each of the perturbed weights."""
        refuse_large(trial, "barrier", MAX_TRAINED, "trains the network four times")
        rate = min(BARRIER_RATE, 2 * stable_rate(trial))  # momentum bears 3.8 / curvature
        found = barriers(trial, steps=BARRIER_STEPS, lr=rate, shares=PARTING_SHARES)
        heights = [None if each is None else each[0] for each in found]
        distances = [None if each is None else each[1] for each in found]
        return Observation(
            figures={"start": heights[0], "early": heights[1], "late": heights[2], "distance": distances[0]},
            profile=Profile(
                layers=tuple(f"after {share:.0%}" for share in PARTING_SHARES),
                values={"barrier": tuple(heights), "distance": tuple(distances)},
            ),
        )


def barriers(
    trial: Trial, *, steps: int, lr: float, shares: tuple[float, ...], sigma: float = SIGMA
) -> list[Barrier | None]:
    """Return a barrier for each share of training after which weights are perturbed; None where a run diverged."""
    schedule, times = cosine(lr, steps), [round(share * steps) for share in shares]
    initial, noise = flat(trial.trainable), noise_of(trial, sigma)
    with trial.kept():
        training = ShortTraining(trial, momentum=MOMENTUM)
        targets, states, done = training.batches.targets, {}, 0
        for time in sorted(set(times)):
            if not training.run(done, time, schedule):
                return [None] * len(shares)
            states[time], done = training.state(), time
        trial.tell("the first run")
        if not training.run(done, steps, schedule):
            return [None] * len(shares)
        end = flat(trial.trainable)
        found: list[Barrier | None] = []
        for time in times:
            trial.tell(f"perturbed after {time} of {steps} steps")
            training.go_on_from(states[time])
            set_flat(trial, states[time].weights + noise)
            other = _end(trial, training, time, steps, schedule)
            height = None if other is None else height_between(trial, end, other, targets)
            if height is None or other is None:
                found.append(None)
            else:
                found.append((height, float((end - other).norm() / initial.norm())))
    return found


def _end(trial: Trial, training: ShortTraining, first: int, last: int, schedule: Schedule) -> Tensor | None:
    return flat(trial.trainable) if training.run(first, last, schedule) else None


def noise_of(trial: Trial, sigma: float) -> Tensor:
    """Return Gaussian noise with the std of each tensor, `sigma` of the weights' norm in all."""
    parts = []
    for index, parameter in enumerate(trial.trainable):
        generator = slot_generator(trial.seed, f"parameter {index}", stream="perturbation")
        values = parameter.detach()
        std = values.std() if values.numel() > 1 else torch.zeros(())
        parts.append(torch.randn(values.shape, generator=generator).flatten() * std)
    noise = torch.cat(parts)
    return noise * (sigma * flat(trial.trainable).norm() / noise.norm().clamp(min=1e-30))


def height_between(trial: Trial, one: Tensor, other: Tensor, targets: Tensor) -> float | None:
    """Return the most by which the loss on the way exceeds the line between the losses at both ends."""
    losses = []
    for point in range(_POINTS):
        share = point / (_POINTS - 1)
        set_flat(trial, torch.lerp(one, other, share))
        losses.append(loss_over(trial, targets))
    if not all(map(isfinite, losses)):
        return None
    first, last = losses[0], losses[-1]
    return max(loss - first - (last - first) * point / (_POINTS - 1) for point, loss in enumerate(losses))
