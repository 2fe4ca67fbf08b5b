"""Winning tickets: which of the initial weights training makes large, round by round (Frankle & Carbin, 2019).

The paper is arXiv:1803.03635. In each round the network is trained, the smallest of the weights that are left become
zero for good, and all others go back to their initial values. The folder has the initial weights, with zeros where
training would not have needed them. What AdamW remembers of a round is not forgotten at its end, and fades in the next.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, final

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrize

from paramgen.comparison.tasks import Batch
from paramgen.errors import ArchitectureError, OptionError, one_line
from paramgen.graphs.analysis.roles import linear_maps_of
from paramgen.modifiers.constraints import owned_parameters
from paramgen.modifiers.masking.holding import Zeroed
from paramgen.modifiers.masking.masks import SCOPES, Scope, best_masks
from paramgen.preparation import Objective, Preparation, Pupil, Training, check_range, preparations
from paramgen.slots.manifest import state_of

MAX_ROUNDS: Final = 100
_HOW: Final = "tickets"


@final
@preparations.register(_HOW)
@dataclass(frozen=True, kw_only=True)
class Tickets(Preparation):
    """The initial weights that training makes large are kept; the rest is zero (Frankle & Carbin, 2019)."""

    training: ClassVar[Training] = Training(lr=3e-3, schedule="constant")

    by: str = "magnitude"  # what weights are dropped by, the smallest first
    keep: float | int = 0.2  # the share that is left after the last round
    rounds: int = 8  # of equal numbers of steps; each keeps the same share of what is left
    scope: Scope = "global"  # the largest of all weights, or of each layer

    def __post_init__(self) -> None:
        check_range(_HOW, "keep", self.keep, 0.0001, 1)
        if type(self.rounds) is not int or not 1 <= self.rounds <= MAX_ROUNDS:
            raise OptionError(
                f"rounds is {one_line(repr(self.rounds))}. Allowed: a whole number from 1 to {MAX_ROUNDS}. "
                f"Type: --how '{_HOW}?rounds=8'"
            )
        for name, given, allowed in (("by", self.by, ("magnitude",)), ("scope", self.scope, SCOPES)):
            if given not in allowed:
                raise OptionError(
                    f"{name} is {one_line(repr(given))}. Allowed: {', '.join(allowed)}. "
                    f"Type: --how '{_HOW}?{name}={allowed[0]}'"
                )

    def objective(self, pupil: Pupil) -> Objective:
        """Return the loss on the labels, and batches between which weights are dropped and go back."""
        task = pupil.task
        assert task is not None
        if pupil.steps < self.rounds:
            raise OptionError(
                f"{self.rounds} rounds take a step each, and there are {pupil.steps}. Type: --steps {100 * self.rounds}"
            )
        found = _Rounds(pupil, self)

        def loss(batch: Batch) -> Tensor:
            return cross_entropy(*task.answers(pupil.logits(batch[0]), batch[1]))

        def batches(start: int) -> Iterator[Batch]:
            for step, batch in enumerate(pupil.batches(start), start):
                found.before(step)
                yield batch

        return Objective(
            module=pupil.module,
            loss=loss,
            batches=batches,
            weights=found.ended,
            masks=found.masks,
            note="Weights that are kept have their initial values, and the others are zero; "
            "paramgen.masked(model, FOLDER) holds them there in training.",
        )


@final
class _Rounds:
    """The rounds of one training: what is left by now, and what it goes back to."""

    def __init__(self, pupil: Pupil, how: Tickets) -> None:
        self._how, self._steps, self._module = how, pupil.steps, pupil.module
        self._initial = {name: tensor.detach().clone() for name, tensor in state_of(pupil.module).items()}
        parameters = dict(pupil.module.named_parameters(remove_duplicate=False))
        maps = linear_maps_of(pupil.model.graph, pupil.model.architecture.manifest)
        shapes = {name: tuple(parameters[name].shape) for name in maps if name in parameters}
        if not shapes:
            raise ArchitectureError(
                f"{pupil.model.name} has no linear layer or convolution whose weights can be dropped. "
                f"What is seen of it, shows: paramgen graph --arch {pupil.model.name}"
            )
        self._held: dict[str, Zeroed] = {}
        for name, owned in owned_parameters(pupil.module, shapes).items():
            self._held[name] = Zeroed(torch.ones(shapes[name], dtype=torch.bool, device=owned.parameter.device))
            for owner, key in owned.owners:
                parametrize.register_parametrization(owner, key, self._held[name])
        self._done = False

    def before(self, step: int) -> None:
        """End a round where the next one begins with this step; the last one ends with the training."""
        ends = [self._steps * index // self._how.rounds for index in range(1, self._how.rounds)]
        if step in ends:
            self._end_round(ends.index(step) + 1)

    def ended(self) -> Mapping[str, Tensor]:
        """End the last round, and return what is left of the initial weights."""
        if not self._done:
            self._end_round(self._how.rounds)
            self._done = True
        return {
            name: tensor * self._held[name].mask if name in self._held else tensor
            for name, tensor in self._initial.items()
        }

    def masks(self) -> Mapping[str, Bool[Tensor, "..."]]:
        """Return what is kept, where weights were not zero from the beginning."""
        return {name: held.mask.cpu() for name, held in self._held.items()}

    @torch.no_grad()
    def _end_round(self, number: int) -> None:
        """Drop the smallest weights, and give all others, biases and norms too, their initial values back."""
        scores = {name: _weight(self._module, name).abs().cpu() for name in self._held}
        share = float(self._how.keep) ** (number / self._how.rounds)
        for name, mask in best_masks(scores, share, scope=self._how.scope).items():
            self._held[name].mask.copy_(mask)
        for name, tensor in state_of(self._module).items():
            tensor.copy_(self._initial[_initial_name(name)])


def _weight(module: nn.Module, name: str) -> Tensor:
    path, _, key = name.rpartition(".")
    found: Tensor = getattr(module.get_submodule(path), key)
    return found


def _initial_name(name: str) -> str:
    """Return the name that an entry of the state had before its weight was constrained."""
    if "parametrizations." not in name:
        return name
    return name.replace(".parametrizations.", ".").removeprefix("parametrizations.").removesuffix(".original")
