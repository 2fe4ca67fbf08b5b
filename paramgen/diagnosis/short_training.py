"""A short training on the examples of a diagnosis: the same batches in the same order, whatever is trained."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import Any, Final, final

import torch
from torch import Tensor

from paramgen.diagnosis.losses import losses_of
from paramgen.diagnosis.sample import Sample
from paramgen.diagnosis.trial import Trial
from paramgen.errors import OptionError
from paramgen.slots.init_program import slot_generator

TRAINING_BATCH: Final = 64
MAX_TRAINED: Final = 30_000_000
"""Parameters of a network that measures train: on one core, an hour is not far beyond."""

Schedule = Callable[[int], float]
"""The learning rate of a step, the first being 0."""


@final
class ShortTraining:
    """Trains the network of a trial in place, by SGD with momentum or by Adam; `trial.kept()` puts the weights back.

    Args:
        trial: The network and its examples, which are learnt in batches of 64, in an order that its seed decides.
        momentum: Of SGD.
        adam: Whether it is Adam instead, for networks that SGD hardly trains.
        batches: Others than those of all examples.

    """

    def __init__(
        self, trial: Trial, *, momentum: float = 0.0, adam: bool = False, batches: "Batches | None" = None
    ) -> None:
        self.trial = trial
        self.batches = Batches(trial) if batches is None else batches
        parameters = trial.trainable
        self._optimizer: torch.optim.Optimizer = (
            torch.optim.Adam(parameters) if adam else torch.optim.SGD(parameters, lr=1.0, momentum=momentum)
        )

    def state(self) -> "TrainingState":
        """Return the weights and what the optimizer holds, as copies."""
        return TrainingState(flat(self.trial.trainable), copy.deepcopy(self._optimizer.state_dict()))

    def go_on_from(self, state: "TrainingState") -> None:
        """Take the weights and what the optimizer held."""
        set_flat(self.trial, state.weights)
        self._optimizer.load_state_dict(copy.deepcopy(dict(state.optimizer)))

    def run(self, first: int, last: int, schedule: Schedule) -> bool:
        """Take the steps from `first` up to `last`; return whether the loss stayed finite: else it ends there."""
        with self.trial.running() as scores:
            for index in range(first, last):
                sample, targets = self.batches.at(index)
                loss = losses_of(scores(sample), targets).mean()
                if not loss.requires_grad or not isfinite(float(loss.detach())):
                    return False
                loss.backward()
                for group in self._optimizer.param_groups:
                    group["lr"] = schedule(index)
                self._optimizer.step()
                self._optimizer.zero_grad(set_to_none=True)
        return True


@final
@dataclass(frozen=True, slots=True, eq=False)
class TrainingState:
    """A place in training that others can go on from."""

    weights: Tensor
    optimizer: Mapping[str, Any]


@final
class Batches:
    """The examples of a trial in batches with what they should be answered; an epoch has every example once.

    Args:
        trial: The network and its examples.
        part: The first examples, where not all are learnt: then in quarters of them at most, so that orders differ.
        order: Which of the orders of the trial's seed.

    """

    def __init__(self, trial: Trial, *, part: int | None = None, order: int = 0) -> None:
        with torch.no_grad():
            self.targets = trial.targets(trial.scores())
        self._sample, self._seed, self._order = trial.sample, trial.seed, order
        fits = len(self.targets) == trial.sample.count
        if fits and part is not None:
            self._sample, self.targets = trial.sample.part(0, part), self.targets[:part]
        count = self._sample.count
        self.size = min(TRAINING_BATCH, count if part is None else max(2, count // 4)) if fits else count
        self.per_epoch = count // self.size
        if self.size < count:
            with torch.no_grad():
                trial.scores(self._sample.part(0, self.size))  # a network that does not run on a batch says so here

    def at(self, step: int) -> tuple[Sample, Tensor]:
        """Return the batch of a step and its targets; what is left over of an epoch waits for another one."""
        if self.size == self._sample.count:
            return self._sample, self.targets
        epoch, place = divmod(step, self.per_epoch)
        name = f"epoch {epoch}" if not self._order else f"epoch {epoch} of order {self._order}"
        generator = slot_generator(self._seed, name, stream="order")
        index = torch.randperm(self._sample.count, generator=generator)[place * self.size : (place + 1) * self.size]
        return self._sample.rows(index), self.targets[index]


def cosine(lr: float, steps: int) -> Schedule:
    """Return a learning rate that falls from `lr` to zero along a cosine."""
    return lambda step: lr * 0.5 * (1 + cos(pi * step / steps))


def flat(tensors: "list[Tensor] | list[torch.nn.Parameter]") -> Tensor:
    """Return the values of tensors one after the other, as a copy."""
    return torch.cat([each.detach().flatten() for each in tensors])


@torch.no_grad()
def set_flat(trial: Trial, values: Tensor) -> None:
    """Give the network the weights of `flat(trial.trainable)`."""
    first = 0
    for parameter in trial.trainable:
        parameter.copy_(values[first : first + parameter.numel()].view_as(parameter))
        first += parameter.numel()


def loss_over(trial: Trial, targets: Tensor) -> float:
    """Return the mean loss of all examples."""
    with torch.no_grad():
        return float(losses_of(trial.scores(), targets).mean())


def refuse_large(trial: Trial, measure: str, most: int, why: str) -> int:
    """Return the number of parameters that are trained.

    Raises:
        OptionError: There are more than `most`, or none.
    """
    count = sum(each.numel() for each in trial.trainable)
    if not count:
        raise OptionError(f"{trial.architecture.spec} has no parameter to train. Leave {measure} out: --what signal")
    if count > most:
        raise OptionError(
            f"{measure} {why}: {trial.architecture.spec} has {count:,} parameters, and {most:,} are allowed. Take a "
            f"smaller network of the kind (--set), or leave {measure} out: --what signal,guessing"
        )
    return count
