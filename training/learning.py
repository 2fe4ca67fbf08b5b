"""From sampled networks to the hypernet's gradient: predict all, descend from each, send back what is met."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from paramgen.hypernets.loading import Predictor
from training.clock import Clock
from training.config import Objective
from training.losses import Batch, Outcome, departure, descend, use_batch_statistics
from training.targets import Target


@final
@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """One network of a step, and the images it is trained on."""

    place: int  # among the step's networks
    family: int  # its place among the run's families
    target: Target
    batches: list[Batch]


class Seen(NamedTuple):
    """What was seen of one network, in numbers that processes can exchange."""

    place: float
    family: float
    loss: float
    last_loss: float
    accuracy: float  # at step 0
    departure: float
    finite: float  # 1, or 0 where its gradient is none


def learn(
    hypernet: Predictor, sampled: Sequence[Sampled], objective: Objective, *, share: float, clock: Clock,
    precision: AbstractContextManager[None],
) -> list[Seen]:  # fmt: skip
    """Add `share` of every network's gradient to the hypernet's; a network whose losses are not finite adds none.

    Args:
        precision: The context of mixed precision, of the prediction and of the networks.
    """
    with precision:
        starts = [(each.target.view, each.target.start) for each in sampled]
        predicted = hypernet.together(starts)
        # In mixed precision a prediction may be narrow; what is trained from it is not.
        weights = [{name: tensor.float() for name, tensor in slots.items()} for slots in predicted]
        clock.lap("predict")
        outcomes = [
            descend(use_batch_statistics(each.target.network), each.target.state, slots, each.batches, objective)
            for each, slots in zip(sampled, weights, strict=True)
        ]
        clock.lap("inner steps")
    distances = [departure(slots, each.target.state) for each, slots in zip(sampled, weights, strict=True)]
    sound = [index for index, outcome in enumerate(outcomes) if outcome.finite]
    if sound:
        penalty = share * objective.departure * torch.stack([distances[index] for index in sound]).sum()
        _send_back([(weights[index], outcomes[index]) for index in sound], penalty, share)
    clock.lap("hypernet backward")
    return [
        _seen(each, outcome, distance) for each, outcome, distance in zip(sampled, outcomes, distances, strict=True)
    ]


def _send_back(pairs: Sequence[tuple[dict[str, Tensor], Outcome]], penalty: Tensor, share: float) -> None:
    """Go back through the hypernet once, from every predicted tensor with the gradient that was met for it."""
    roots, gradients = [penalty], [torch.ones_like(penalty)]
    for weights, outcome in pairs:
        roots += weights.values()
        gradients += torch._foreach_mul([outcome.gradient[name] for name in weights], share)
    torch.autograd.backward(roots, gradients)


def _seen(each: Sampled, outcome: Outcome, distance: Tensor) -> Seen:
    return Seen(
        place=each.place,
        family=each.family,
        loss=outcome.losses[0],
        last_loss=outcome.losses[-1],
        accuracy=outcome.accuracy,
        departure=float(distance.detach()),
        finite=float(outcome.finite),
    )
