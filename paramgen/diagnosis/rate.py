"""The largest learning rate that trains (Iyer et al., 2023, arXiv:2212.07295), and the curvature at the beginning.

The learning rate is the largest constant one with which SGD succeeds within a number of steps. It is found by doubling
or halving, then by bisection to 10 %. The curvature is the largest eigenvalue of the Hessian of the loss, by Lanczos'
method on products of the Hessian and a vector.
"""

from collections.abc import Mapping
from math import isfinite
from typing import ClassVar, Final, final

import torch
from torch import Tensor

from paramgen.architectures.materialize import plain_attention
from paramgen.diagnosis import Measure, Observation, Threshold, measures
from paramgen.diagnosis.losses import losses_of
from paramgen.diagnosis.short_training import MAX_TRAINED, ShortTraining, loss_over, refuse_large
from paramgen.diagnosis.signal import finite
from paramgen.diagnosis.trial import Trial
from paramgen.slots.init_program import slot_generator

RATE_STEPS: Final = 60
_PRODUCTS: Final = 30  # of the Hessian and a vector
_AGREES: Final = 1e-4  # two estimates of the eigenvalue, one after the other
_TRIES: Final = 24  # doublings or halvings
_PRECISION: Final = 1.1
_FALLEN: Final = 0.9  # of the loss at the beginning, where there are no labels to tell


@final
@measures.register("rate")
class Rate(Measure):
    """The largest learning rate with which SGD learns the examples in 60 steps, and the Hessian's top eigenvalue.

    With labels of data, learning is to get half of the way from guessing to all of them; without, that the loss falls
    by a tenth.
    """

    __slots__ = ()

    trains: ClassVar[bool] = True
    labels: ClassVar[Mapping[str, str]] = {
        "largest": "largest learning rate of SGD",
        "curvature": "top eigenvalue of the Hessian",
        "product": "their product",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "largest": Threshold(
            good=(1e-3, float("inf")),
            watch=(1e-5, float("inf")),
            low="SGD learns at tiny learning rates only, or at none: use normalization, or weights of another scale, "
            "such as he.",
        ),
    }

    def observe(self, trial: Trial) -> Observation:
        """Train again and again from the same weights."""
        refuse_large(trial, "rate", MAX_TRAINED, "trains the network a dozen times")
        curvature = top_eigenvalue(trial)
        rate = largest_rate(trial, begin=2 / curvature if curvature > 0 and isfinite(curvature) else 0.1)
        return Observation(
            figures={"largest": rate, "curvature": finite(curvature), "product": finite(rate * curvature)}
        )


def top_eigenvalue(trial: Trial, products: int = _PRODUCTS) -> float:
    """Return the largest eigenvalue of the Hessian of the loss of all examples, by Lanczos' method."""
    parameters = trial.trainable
    with plain_attention():
        scores = trial.scores()
        loss = losses_of(scores, trial.targets(scores)).mean()
        if not loss.requires_grad:
            return 0.0
        gradient = _joined(torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True))
        if not gradient.requires_grad:  # the loss is linear in every weight
            return 0.0
        generator = slot_generator(trial.seed, "eigenvalue", stream="input")
        vector = torch.randn(len(gradient), generator=generator)
        vector, before = vector / vector.norm(), torch.zeros_like(vector)
        diagonal: list[float] = []
        beside: list[float] = []
        found = 0.0
        for index in range(min(products, len(vector))):
            product = _joined(
                torch.autograd.grad(gradient, parameters, vector, retain_graph=True, materialize_grads=True)
            )
            diagonal.append(float(product @ vector))
            product = product - diagonal[-1] * vector - (beside[-1] * before if beside else 0.0)
            last, found = found, _largest(diagonal, beside)
            size = float(product.norm())
            if (
                not isfinite(found)
                or size <= 1e-6 * abs(found)
                or (index > 2 and abs(found - last) <= _AGREES * abs(found))
            ):
                break
            beside.append(size)
            before, vector = vector, product / size
            trial.tell(f"product {index + 1} of the Hessian")
    return found


def largest_rate(trial: Trial, *, begin: float, steps: int = RATE_STEPS) -> float:
    """Return the largest constant learning rate with which SGD succeeds, within 10 %; 0 where none does."""
    tried = 0

    def succeeds(lr: float) -> bool:
        nonlocal tried
        tried += 1
        trial.tell(f"training {tried} at {lr:.2g}")
        return _succeeds(trial, lr, steps)

    low, high = (begin, begin * 2) if succeeds(begin) else (begin / 2, begin)
    if low == begin:
        while tried < _TRIES and succeeds(high):
            low, high = high, high * 2
    else:
        while not succeeds(low):
            low, high = low / 2, low
            if tried >= _TRIES:
                return 0.0
    while high / low > _PRECISION:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if succeeds(middle) else (low, middle)
    return low


def _succeeds(trial: Trial, lr: float, steps: int) -> bool:
    with trial.kept():
        training = ShortTraining(trial)
        targets = training.batches.targets
        before = loss_over(trial, targets)
        if not training.run(0, steps, lambda _: lr):
            return False
        if trial.sample.labels is None or targets.dim() != 1 or targets.is_floating_point():
            return loss_over(trial, targets) <= _FALLEN * before
        with torch.no_grad():
            accuracy = float((trial.scores().argmax(1) == targets).double().mean())
        chance = float(targets.bincount().max()) / len(targets)
        return accuracy >= (1 + chance) / 2


def _largest(diagonal: list[float], beside: list[float]) -> float:
    """Return the largest eigenvalue of a tridiagonal matrix."""
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if len(diagonal) > 1:
        off = torch.tensor(beside[: len(diagonal) - 1], dtype=torch.float64)
        matrix += torch.diag(off, 1) + torch.diag(off, -1)
    return float(torch.linalg.eigvalsh(matrix)[-1]) if bool(matrix.isfinite().all()) else float("nan")


def _joined(tensors: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([each.flatten() for each in tensors])
