"""What training does to changes of the initial weights: its Jacobian (Belrose & Scherlis, 2024, arXiv:2412.07003).

The derivative of the trained weights with respect to the initial ones is carried forward through SGD with momentum 0.9,
batches of 64 and a learning rate that falls from 0.1 along a cosine: d v = 0.9 d v + H d theta, d theta -= lr d v. Its
singular values are above 1, below 1, or, for most directions, 1: there the left and the right singular vector agree,
so training leaves these directions as they were drawn.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar, Final, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, grad, jvp, vmap

from paramgen.architectures.materialize import plain_attention
from paramgen.diagnosis import Measure, Observation, Threshold, measures
from paramgen.diagnosis.losses import losses_of
from paramgen.diagnosis.sample import Sample
from paramgen.diagnosis.short_training import Batches, cosine, flat, refuse_large
from paramgen.diagnosis.trial import Trial
from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.saliency import scores_in

MAX_PARAMETERS: Final = 6000
EPOCHS: Final = 10
JACOBIAN_RATE: Final = 0.1
MOMENTUM: Final = 0.9
BULK: Final = 0.01  # a singular value of the bulk is 1 within this
_CHUNK: Final = 512  # directions that are differentiated at once


@final
@measures.register("jacobian")
class TrainingJacobian(Measure):
    """Singular values of what 10 epochs of SGD make of changes of the initial weights, and which directions stay."""

    __slots__ = ()

    trains: ClassVar[bool] = True
    labels: ClassVar[Mapping[str, str]] = {
        "unchanged": "directions that stay, share",
        "above": "directions that grow, share",
        "below": "directions that shrink, share",
        "largest": "largest singular value",
        "cosine": "cosine of both vectors where they stay",
        "elsewhere": "the same elsewhere",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "largest": Threshold(
            good=(0.0, 1e3),
            watch=(0.0, 1e5),
            high="Training amplifies tiny changes of the initial weights: use a lower learning rate, or normalization.",
        ),
    }

    def observe(self, trial: Trial) -> Observation:
        """Train, carrying the derivative along."""
        refuse_large(trial, "jacobian", MAX_PARAMETERS, "keeps the derivative of every parameter by every other")
        found = training_jacobian(trial, epochs=EPOCHS)
        return Observation(figures=figures_of(found) if bool(found.isfinite().all()) else dict.fromkeys(self.labels))


def training_jacobian(
    trial: Trial, *, epochs: int, lr: float = JACOBIAN_RATE
) -> Float[Tensor, "parameters parameters"]:
    """Return the derivative of the trained weights with respect to the initial ones, in float64.

    Raises:
        OptionError: An operation of the network cannot be differentiated forward.
    """
    batches = Batches(trial)
    steps = epochs * batches.per_epoch
    schedule = cosine(lr, steps)
    weights = flat(trial.trainable)
    velocity, moved = torch.zeros_like(weights), torch.zeros(len(weights), len(weights))
    changes = torch.eye(len(weights))  # row i: what a change of initial weight i has become
    with trial.frozen(), plain_attention():
        for step in range(steps):
            gradient = grad(_loss_of(trial, *batches.at(step)))
            try:
                curved = vmap(_along(gradient, weights), chunk_size=_CHUNK)(changes)
            except (RuntimeError, NotImplementedError) as error:
                raise OptionError(
                    f"jacobian differentiates forward, and an operation of {trial.architecture.spec} cannot be: "
                    f"{one_line(error)[:120]}. Leave it out: --what rate,barrier"
                ) from error
            velocity = MOMENTUM * velocity + gradient(weights)
            moved.mul_(MOMENTUM).add_(curved)
            weights = weights - schedule(step) * velocity
            changes.sub_(moved, alpha=schedule(step))
            if step % 10 == 0:
                trial.tell(f"step {step} of {steps}")
    return changes.T.double()


def figures_of(jacobian: Float[Tensor, "parameters parameters"]) -> dict[str, float | None]:
    """Return the shares of singular values, the largest of them, and how left and right vectors agree."""
    left, values, right = torch.linalg.svd(jacobian)
    cosines = (left * right.T).sum(0).abs()
    bulk = (values - 1).abs() <= BULK
    return {
        "unchanged": float(bulk.double().mean()),
        "above": float((values > 1 + BULK).double().mean()),
        "below": float((values < 1 - BULK).double().mean()),
        "largest": float(values[0]),
        "cosine": float(cosines[bulk].mean()) if bool(bulk.any()) else None,
        "elsewhere": float(cosines[~bulk].mean()) if bool((~bulk).any()) else None,
    }


def _along(gradient: Callable[[Tensor], Tensor], weights: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the derivative of the gradient along a direction: the Hessian times it."""

    def product(direction: Tensor) -> Tensor:
        found: Tensor = jvp(gradient, (weights,), (direction,))[1]
        return found

    return product


def _loss_of(trial: Trial, sample: Sample, targets: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the loss of a batch as a function of all weights, one after the other."""
    names = [name for name, each in trial.module.named_parameters() if each.requires_grad]
    shapes = [each.shape for each in trial.trainable]

    def loss(weights: Tensor) -> Tensor:
        parts = weights.split([shape.numel() for shape in shapes])
        parameters = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        outcome = functional_call(trial.module, parameters, sample.args, dict(sample.kwargs))
        return losses_of(scores_in(outcome, trial.architecture.spec), targets).mean()

    return loss
