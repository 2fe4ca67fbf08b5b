"""Rich features by rounds, of which none needs those before (RFC, Zhang et al., 2022, arXiv:2203.15516).

Each round trains a network of its own. The first learns the labels; each later one is judged by the worst group of
examples, by whether an earlier round was right or wrong there, so that what earlier rounds rely on does not help it.
Then the network learns the answers of all rounds, with a head for each, and its output layer is the mean of the heads.
Not as in the paper: rounds take a share of the steps each, instead of training until they fit.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import ClassVar, Final, final

import torch
from jaxtyping import Bool, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from paramgen.comparison.models import ModelUnderTest
from paramgen.comparison.tasks import Batch, ImageTask
from paramgen.errors import ArchitectureError, OptionError
from paramgen.preparation import Objective, Preparation, Pupil, Training, check_range, preparations
from paramgen.preparation.output_layer import Features, output_slots
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import state_of

_HOW: Final = "bonsai"
_AT_ONCE: Final = 512  # examples that a round is asked about


@final
class Rounds(nn.Module):
    """The network with a head for each round, the networks of the rounds, and what those answered."""

    answers: Int64[Tensor, "rounds examples"]

    def __init__(self, network: nn.Module, output: str, rounds: int, examples: int) -> None:
        super().__init__()
        self.network = network
        self.heads = nn.ModuleList(copy.deepcopy(network.get_submodule(output)) for _ in range(rounds))
        self.rounds = nn.ModuleList(copy.deepcopy(network) for _ in range(rounds))
        network.get_submodule(output).requires_grad_(False)  # the heads stand in its place
        self.register_buffer("answers", torch.zeros(rounds, examples, dtype=torch.int64))


@final
@preparations.register(_HOW)
@dataclass(frozen=True, kw_only=True)
class Bonsai(Preparation):
    """Rich features: rounds that succeed where those before fail, then one network of all (Zhang et al., 2022)."""

    training: ClassVar[Training] = Training(lr=1e-3, batch=128, schedule="constant")

    rounds: int = 2  # of discovery; what they found is put together in as many steps as each has

    def __post_init__(self) -> None:
        check_range(_HOW, "rounds", self.rounds, 2, 8, whole=True)

    def objective(self, pupil: Pupil) -> Objective:
        """Return the loss of the round that a batch is for, or of all heads."""
        if not isinstance(pupil.task, ImageTask):
            raise OptionError("--how bonsai is for images; the data are a text. Type: --how warmup, without --data")
        if pupil.steps <= self.rounds:
            raise OptionError(
                f"--steps is {pupil.steps}; {self.rounds} rounds and what follows need more. Type: --steps 900"
            )
        output = _output_layer(pupil.model)
        rounds = Rounds(pupil.module, output, self.rounds, len(pupil.task.train.labels)).to(pupil.device)
        work = _Discovery(pupil, pupil.task, rounds)
        read = Features(pupil.model, pupil.module)

        def loss(batch: Batch) -> Tensor:
            inputs, (places, stage) = batch[0], (batch[1][:, 0], int(batch[1][0, 1]))
            if stage < self.rounds:
                return work.worst(pupil.model.logits(rounds.rounds[stage], inputs), places, stage)
            pupil.logits(inputs)
            given = rounds.answers[:, places]
            losses = [cross_entropy(head(read.last), each) for head, each in zip(rounds.heads, given, strict=True)]
            return torch.stack(losses).sum()

        def weights() -> Mapping[str, Tensor]:
            heads = [state_of(head) for head in rounds.heads]
            means = {f"{output}.{name}": torch.stack([each[name] for each in heads]).mean(0) for name in heads[0]}
            return state_of(pupil.module) | means

        return Objective(
            module=rounds,
            loss=loss,
            batches=lambda start: work.batches(start, self.rounds),
            weights=weights,
            note="The output layer is the mean of the heads that learnt the answers of the rounds.",
        )


@final
class _Discovery:
    """Which examples each step sees, by what the rounds before it got right."""

    def __init__(self, pupil: Pupil, task: ImageTask, rounds: Rounds) -> None:
        self._pupil, self._task, self._rounds = pupil, task, rounds
        self._labels = task.train.labels.to(pupil.device)

    def batches(self, start: int, rounds: int) -> Iterator[Batch]:
        """Yield inputs, and for each the place of the example and the round, from a step on."""
        pupil = self._pupil
        for step in count(start):
            stage = min(step * (rounds + 1) // pupil.steps, rounds)
            if step and stage and (step - 1) * (rounds + 1) // pupil.steps < stage:
                self._ask(stage - 1)
            generator = slot_generator(pupil.seed, f"step {step}", stream=_HOW)
            places = _drawn(self._groups(stage), pupil.batch, generator).to(pupil.device)
            inputs = self._inputs(places)
            yield inputs, torch.stack((places, torch.full_like(places, stage)), 1)

    def worst(self, logits: Tensor, places: Int64[Tensor, " batch"], stage: int) -> Tensor:
        """Return the loss on the labels, of the group where it is largest."""
        losses = cross_entropy(logits.float(), self._labels[places], reduction="none")
        right = self._right[:stage, places]
        means = [losses[group].mean() for group in (*right, *~right) if group.any()]
        return torch.stack(means).max() if means else losses.mean()

    @property
    def _right(self) -> Bool[Tensor, "rounds examples"]:
        """Where each round's answer is the label."""
        return self._rounds.answers == self._labels

    def _groups(self, stage: int) -> list[Int64[Tensor, " _"]]:
        """Return the groups that a batch is drawn from, an equal share from each; all examples where there are none."""
        right = self._right[:stage].cpu()
        if stage < len(self._right):
            masks = [*right, *~right]
        else:  # half from where all rounds are right or all are wrong
            agreed = right.all(0) | ~right.any(0)
            masks = [agreed, ~agreed]
        found = [mask.nonzero().flatten() for mask in masks]
        return [group for group in found if len(group)] or [torch.arange(len(self._labels))]

    @torch.no_grad()
    def _ask(self, stage: int) -> None:
        """Keep what a round that has ended answers for each example."""
        network = self._rounds.rounds[stage].eval()
        for places in torch.arange(len(self._labels), device=self._pupil.device).split(_AT_ONCE):
            logits = self._pupil.model.logits(network, self._inputs(places))
            self._rounds.answers[stage, places] = logits.argmax(1)
        network.train()

    def _inputs(self, places: Int64[Tensor, " batch"]) -> Tensor:
        pixels = self._task.train.pixels
        return self._task.normalized(pixels[places.to(pixels.device)]).to(self._pupil.device)


def _drawn(groups: list[Int64[Tensor, " _"]], size: int, generator: torch.Generator) -> Int64[Tensor, " batch"]:
    """Return a batch of which each group has an equal share, but for a rest; its examples may come twice."""
    shares = [size // len(groups) + (place < size % len(groups)) for place in range(len(groups))]
    drawn = zip(groups, shares, strict=True)
    return torch.cat([group[torch.randint(len(group), (share,), generator=generator)] for group, share in drawn])


def _output_layer(model: ModelUnderTest) -> str:
    """Return the name of the layer that makes the output, of which each round gets a copy."""
    owners = {model.architecture.manifest[slot].owner for slot in output_slots(model)}
    layer = model.template.get_submodule(min(owners)) if len(owners) == 1 else None
    if not isinstance(layer, nn.Linear):
        raise ArchitectureError(
            f"{model.name} does not end in one linear layer, which --how bonsai needs. Type: --how supermask"
        )
    return min(owners)
