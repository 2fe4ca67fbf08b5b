"""Train many small networks at once: their parameters are stacked, and one vmapped call runs them all.

Every network has its own task and its own discriminator; all see the pictures at the same places at a step, so that two
tasks differ by the task alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from checkpoints.critic import critic, judged
from checkpoints.examples import Examples
from checkpoints.examples import Pairs as Pairs
from checkpoints.examples import scaled as scaled
from checkpoints.recipe import Recipe
from paramgen.slots.init_program import slot_generator
from paramgen.zoo.low_rank import restore

_CHUNK: Final = 64  # pictures at a time where nothing is learned
BETAS: Final = (0.5, 0.999)  # those of pix2pix


def outputs(
    module: nn.Module, state: Mapping[str, Tensor], stacked: frozenset[str], examples: Examples, inputs: Tensor
) -> Tensor:
    """Return what each network of the ensemble makes of `inputs`; only slots in `stacked` differ between them."""
    own = {name: 0 if name in stacked else None for name in state}
    each = 0 if inputs.ndim == 5 else None
    return vmap(partial(examples.applied, module), in_dims=(own, each))(dict(state), inputs)


def stack(tensors: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return `count` copies of each tensor, ready to be trained."""
    return {name: each.detach().expand(count, *each.shape).clone().requires_grad_() for name, each in tensors.items()}


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """The ensemble after so many steps: stacked tensors, and each network's figures on pictures it never saw."""

    steps: int
    tensors: Mapping[str, Tensor]
    figures: Mapping[str, Float[Tensor, " tasks"]]

    @property
    def distance(self) -> Float[Tensor, " tasks"]:
        """How far each network is from what is wanted."""
        return next(iter(self.figures.values()))


@final
class Ensemble:
    """Networks of one architecture that are trained side by side."""

    def __init__(
        self, module: nn.Module, base: Mapping[str, Tensor], own: dict[str, Tensor], pairs: Examples, recipe: Recipe
    ) -> None:
        """`own` is what each network changes of `base`, stacked; it may begin differently for each."""
        self.module, self.base, self.own, self.pairs, self.recipe = module, base, own, pairs, recipe
        self.stacked = frozenset(name.partition(".lora_")[0] for name in own)

    def run(self, train: int, *, seed: int) -> Iterator[Snapshot]:
        """Train on the first `train` pictures, and yield the recipe's snapshots."""
        recipe = self.recipe
        judge = critic(seed)
        critics = stack(dict(judge.named_parameters()), self.pairs.tasks)
        learner = torch.optim.Adam(self.own.values(), lr=recipe.rate, betas=BETAS)
        opponent = torch.optim.Adam(critics.values(), lr=recipe.rate, betas=BETAS)
        places = slot_generator(seed, "places")
        last = recipe.snapshots[-1]
        for step in range(1, last + 1):
            for group in (*learner.param_groups, *opponent.param_groups):
                group["lr"] = recipe.rate * min(1.0, 2 * (1 - (step - 1) / last))
            inputs, wanted = self.pairs.at(torch.randint(train, (recipe.batch,), generator=places))
            made = self.outputs(inputs)
            loss = self.pairs.off(made, wanted).mean(1).sum()
            if recipe.adversarial:
                _oppose(judge, critics, opponent, (inputs, wanted, made.detach()))
                fixed = {name: each.detach() for name, each in critics.items()}
                loss = loss + recipe.adversarial * judged(_scores(judge, fixed, inputs, made), real=True)
            _step(learner, loss)
            if step in recipe.snapshots:
                tensors = {name: each.detach().clone() for name, each in self.own.items()}
                yield Snapshot(steps=step, tensors=tensors, figures=self.figures(train))

    def outputs(self, inputs: Tensor) -> Tensor:
        """Return what each network makes of inputs."""
        state = restore(self.base, self.own, scale=self.recipe.alpha / self.recipe.rank)
        return outputs(self.module, state, self.stacked, self.pairs, inputs)

    @torch.no_grad()
    def figures(self, begin: int) -> dict[str, Float[Tensor, " tasks"]]:
        """Return each network's figures on the pictures from `begin` on."""
        found: dict[str, list[Tensor]] = {}
        for places in torch.arange(begin, self.pairs.count).split(_CHUNK):
            inputs, wanted = self.pairs.at(places)
            for name, each in self.pairs.measured(self.outputs(inputs), wanted).items():
                found.setdefault(name, []).append(each)
        return {name: torch.cat(each, 1).mean(1) for name, each in found.items()}

    def distance(self, begin: int) -> Float[Tensor, " tasks"]:
        """Return how far each network is from what is wanted on the pictures from `begin` on."""
        return next(iter(self.figures(begin).values()))


def _oppose(
    judge: nn.Module,
    critics: Mapping[str, Tensor],
    opponent: torch.optim.Optimizer,
    seen: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Take one step with the discriminators: what is wanted is real, what was made is not."""
    inputs, wanted, made = seen
    real = judged(_scores(judge, critics, inputs, wanted), real=True)
    _step(opponent, (real + judged(_scores(judge, critics, inputs, made), real=False)) / 2)


def _scores(judge: nn.Module, critics: Mapping[str, Tensor], inputs: Tensor, edited: Tensor) -> Tensor:
    pairs = torch.cat([inputs.expand_as(edited), edited], 2)  # (tasks, batch, 6, height, width)

    def one(state: dict[str, Tensor], seen: Tensor) -> Any:
        return functional_call(judge, state, (seen,))

    return vmap(one)(dict(critics), pairs)


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
