"""Early alignment: neurons that turn to a few directions before the loss falls (Boursier & Flammarion, 2024).

From small initial weights the neurons of the first layer turn towards directions that the data give, while their norms
stay small (arXiv:2401.10791). Here these are the means of the classes less the mean of those, and their opposites. The
network follows the gradient of all examples in steps of a hundredth of the weights' norm until the loss has fallen by
5 %.
"""

from collections.abc import Mapping
from typing import ClassVar, Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from paramgen.diagnosis import Measure, Observation, Threshold, measures
from paramgen.diagnosis.losses import losses_of
from paramgen.diagnosis.rank import stable_rank
from paramgen.diagnosis.recorder import layers_of
from paramgen.diagnosis.short_training import MAX_TRAINED, flat, refuse_large, set_flat
from paramgen.diagnosis.trial import Trial
from paramgen.errors import OptionError

FALLEN: Final = 0.95
MAX_STEPS: Final = 1000
STEP_LENGTH: Final = 0.01


@final
@measures.register("alignment")
class EarlyAlignment(Measure):
    """How far the first layer's neurons have turned to the means of the classes when the loss has fallen by 5 %."""

    __slots__ = ()

    trains: ClassVar[bool] = True
    labels: ClassVar[Mapping[str, str]] = {
        "before": "cosine of neurons and classes, before",
        "after": "the same when the loss has fallen",
        "rank": "stable rank of the first layer then",
        "steps": "steps until then",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "after": Threshold(
            good=(0.0, 0.9),
            watch=(0.0, 0.98),
            high="All neurons of the first layer turn to a few directions before anything is learnt, so few features "
            "are: use larger initial weights.",
        ),
    }

    def observe(self, trial: Trial) -> Observation:
        """Follow the gradient for a while."""
        refuse_large(trial, "alignment", MAX_TRAINED, "trains the network")
        layer, means = first_layer(trial), class_means(trial)
        if means.shape[1] != layer.in_features:
            raise OptionError(
                f"alignment compares neurons with means of classes: the first layer of {trial.architecture.spec} reads "
                f"{layer.in_features:,} numbers, an example has {means.shape[1]:,}. Leave alignment out: --what rate"
            )
        before = turned(layer.weight.detach(), means)
        with trial.kept():
            steps = _follow(trial)
            weight = layer.weight.detach().double()
            return Observation(
                figures={
                    "before": before,
                    "after": None if steps is None else turned(weight, means),
                    "rank": None if steps is None else stable_rank(weight),
                    "steps": None if steps is None else float(steps),
                }
            )


def first_layer(trial: Trial) -> nn.Linear:
    """Return the first layer, which must be linear.

    Raises:
        OptionError: It is another.
    """
    layers = layers_of(trial.module)
    if layers and isinstance(layers[0][1], nn.Linear):
        return layers[0][1]
    kind = type(layers[0][1]).__name__ if layers else "none"
    raise OptionError(
        f"alignment looks at the neurons of a linear first layer; that of {trial.architecture.spec} is {kind}. Leave "
        "alignment out: --what rate,laziness"
    )


def class_means(trial: Trial) -> Float[Tensor, "classes features"]:
    """Return the mean input of each class, less the mean of those of all classes.

    Raises:
        OptionError: There are no labels.
    """
    labels, inputs = trial.sample.labels, trial.sample.args[0] if trial.sample.args else None
    if labels is None or not isinstance(inputs, Tensor):
        raise OptionError(
            "alignment compares neurons with the means of classes, and there are no labels. Give some: --data FOLDER, "
            "or in Python data=(inputs, labels)"
        )
    rows = inputs.flatten(1).double()
    means = torch.stack([rows[labels == label].mean(0) for label in labels.unique()])
    return means - means.mean(0)


def turned(weight: Float[Tensor, "neurons features"], means: Float[Tensor, "classes features"]) -> float:
    """Return the mean over neurons of the largest absolute cosine with the mean of a class."""
    cosines = normalize(weight.double(), dim=1) @ normalize(means, dim=1).T
    return float(cosines.abs().amax(1).mean())


def _follow(trial: Trial) -> int | None:
    """Follow the gradient until the loss has fallen by 5 %; return after how many steps, None where it never does."""
    targets = trial.targets(trial.scores().detach())
    first = None
    for step in range(MAX_STEPS + 1):
        loss = losses_of(trial.scores(), targets).mean()
        first = float(loss.detach()) if first is None else first
        if float(loss.detach()) <= FALLEN * first:
            return step
        if not loss.requires_grad:
            return None
        gradient = flat(list(torch.autograd.grad(loss, trial.trainable, materialize_grads=True)))
        size, weights = gradient.norm(), flat(trial.trainable)
        if not bool(size > 0) or not bool(size.isfinite()):
            return None
        set_flat(trial, weights - STEP_LENGTH * weights.norm() / size * gradient)
        if step % 20 == 0:
            trial.tell(f"step {step}")
    return None
