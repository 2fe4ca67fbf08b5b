"""Train many small networks at once: their parameters are stacked, and one vmapped call runs them all.

Every network has its own task and its own discriminator; all see the same pictures at a step, so that two tasks differ
by the task alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.func import functional_call, vmap

from checkpoints.critic import critic, judged
from checkpoints.generator import applied
from checkpoints.recipe import Recipe
from paramgen.draws import slot_generator
from paramgen.zoo.low_rank import restore

_CHUNK: Final = 64  # pictures at a time where nothing is learned
BETAS: Final = (0.5, 0.999)  # those of pix2pix


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Pictures, shared by all tasks, and what each task makes of them."""

    inputs: UInt8[Tensor, "batch 3 height width"]
    targets: UInt8[Tensor, "tasks batch 3 height width"]

    def at(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets at these places, from -1 to 1."""
        return scaled(self.inputs[places]), scaled(self.targets[:, places])


def scaled(pixels: UInt8[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return pixels as the network sees them."""
    return pixels.float() / 127.5 - 1


def outputs(module: nn.Module, state: Mapping[str, Tensor], stacked: frozenset[str], inputs: Tensor) -> Tensor:
    """Return what each network of the ensemble makes of `inputs`; only slots in `stacked` differ between them."""
    own = {name: 0 if name in stacked else None for name in state}
    return vmap(partial(applied, module), in_dims=(own, None))(dict(state), inputs)


def stack(tensors: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return `count` copies of each tensor, ready to be trained."""
    return {name: each.detach().expand(count, *each.shape).clone().requires_grad_() for name, each in tensors.items()}


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """The ensemble after so many steps: stacked tensors, and each network's distance on pictures it never saw."""

    steps: int
    tensors: Mapping[str, Tensor]
    distance: Float[Tensor, " tasks"]


@final
class Ensemble:
    """Networks of one architecture that are trained side by side from the same tensors."""

    def __init__(
        self, module: nn.Module, base: Mapping[str, Tensor], own: dict[str, Tensor], pairs: Pairs, recipe: Recipe
    ) -> None:
        """`own` is what each network changes of `base`, stacked; it may begin differently for each."""
        self.module, self.base, self.own, self.pairs, self.recipe = module, base, own, pairs, recipe
        self.stacked = frozenset(name.partition(".lora_")[0] for name in own)

    def run(self, train: int, *, seed: int) -> Iterator[Snapshot]:
        """Train on the first `train` pictures by L1 and the discriminators, and yield the recipe's snapshots."""
        recipe = self.recipe
        judge = critic(seed)
        critics = stack(dict(judge.named_parameters()), len(self.pairs.targets))
        learner = torch.optim.Adam(self.own.values(), lr=recipe.rate, betas=BETAS)
        opponent = torch.optim.Adam(critics.values(), lr=recipe.rate, betas=BETAS)
        places = slot_generator(seed, "places")
        last = recipe.snapshots[-1]
        for step in range(1, last + 1):
            for group in (*learner.param_groups, *opponent.param_groups):
                group["lr"] = recipe.rate * min(1.0, 2 * (1 - (step - 1) / last))
            chosen = torch.randint(train, (recipe.batch,), generator=places)
            inputs, wanted = self.pairs.at(chosen)
            made = self.outputs(inputs)
            self._oppose(judge, critics, opponent, (inputs, wanted, made.detach()))
            loss = (made - wanted).abs().mean((1, 2, 3, 4)).sum()
            if recipe.adversarial:
                fixed = {name: each.detach() for name, each in critics.items()}
                loss = loss + recipe.adversarial * judged(_scores(judge, fixed, inputs, made), real=True)
            _step(learner, loss)
            if step in recipe.snapshots:
                tensors = {name: each.detach().clone() for name, each in self.own.items()}
                yield Snapshot(steps=step, tensors=tensors, distance=self.distance(train))

    def outputs(self, inputs: Tensor) -> Tensor:
        """Return what each network makes of the same inputs."""
        state = restore(self.base, self.own, scale=self.recipe.alpha / self.recipe.rank)
        return outputs(self.module, state, self.stacked, inputs)

    @torch.no_grad()
    def distance(self, begin: int) -> Float[Tensor, " tasks"]:
        """Return each network's mean absolute distance, of 0 to 2, on the pictures from `begin` on."""
        found = []
        for places in torch.arange(begin, len(self.pairs.inputs)).split(_CHUNK):
            inputs, wanted = self.pairs.at(places)
            found.append((self.outputs(inputs) - wanted).abs().flatten(2).mean(2))
        return torch.cat(found, 1).mean(1)

    def _oppose(
        self,
        judge: nn.Module,
        critics: Mapping[str, Tensor],
        opponent: torch.optim.Optimizer,
        seen: tuple[Tensor, Tensor, Tensor],
    ) -> None:
        """Take one step with the discriminators: what is wanted is real, what was made is not."""
        if not self.recipe.adversarial:
            return
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
