"""The gradient of a hypernet from sampled networks: predict all, train each a few steps, and backpropagate."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from paramgen.hypernets.loading import Predictor
from paramgen.slots.torch_internals import multiply_all
from training.config import Objective
from training.losses import Batch, Outcome, descend, relative_residual, use_batch_statistics
from training.step_timer import StepTimer
from training.targets import TargetNetwork


@final
@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """One network of a step, and the images it is trained on."""

    number: int  # among the step's networks
    family: int  # its index among the run's families
    target: TargetNetwork
    batches: list[Batch]


class Seen(NamedTuple):
    """Observations of one network in a step, as numbers that processes can exchange."""

    number: float
    family: float
    loss: float
    last_loss: float
    accuracy: float  # at step 0
    residual: float
    finite: float  # 1, or 0 if its gradient is not finite


def learn(
    hypernet: Predictor, sampled: Sequence[Sampled], objective: Objective, *, share: float, clock: StepTimer,
    precision: AbstractContextManager[None],
) -> list[Seen]:  # fmt: skip
    """Add `share` of every network's gradient to the hypernet's; a network whose losses are not finite adds none.

    Args:
        precision: The context of mixed precision, of the prediction and of the networks.
    """
    with precision:
        networks = [(each.target.view, each.target.initial) for each in sampled]
        predicted = hypernet.together(networks)
        # In mixed precision a prediction may be narrow; what is trained from it is not.
        weights = [{name: tensor.float() for name, tensor in slots.items()} for slots in predicted]
        clock.lap("predict")
        outcomes = [
            descend(use_batch_statistics(each.target.network), each.target.state, slots, each.batches, objective)
            for each, slots in zip(sampled, weights, strict=True)
        ]
        clock.lap("inner steps")
    distances = [relative_residual(slots, each.target.state) for each, slots in zip(sampled, weights, strict=True)]
    sound = [index for index, outcome in enumerate(outcomes) if outcome.finite]
    if sound:
        penalty = share * objective.residual * torch.stack([distances[index] for index in sound]).sum()
        _send_back([(weights[index], outcomes[index]) for index in sound], penalty, share)
    clock.lap("hypernet backward")
    return [
        _seen(each, outcome, distance) for each, outcome, distance in zip(sampled, outcomes, distances, strict=True)
    ]


def _send_back(pairs: Sequence[tuple[dict[str, Tensor], Outcome]], penalty: Tensor, share: float) -> None:
    """Backpropagate through the hypernet once, from the gradients of all predicted tensors."""
    roots, gradients = [penalty], [torch.ones_like(penalty)]
    for weights, outcome in pairs:
        roots += weights.values()
        gradients += multiply_all([outcome.gradient[name] for name in weights], share)
    torch.autograd.backward(roots, gradients)


def _seen(each: Sampled, outcome: Outcome, distance: Tensor) -> Seen:
    return Seen(
        number=each.number,
        family=each.family,
        loss=outcome.losses[0],
        last_loss=outcome.losses[-1],
        accuracy=outcome.accuracy,
        residual=float(distance.detach()),
        finite=float(outcome.finite),
    )
