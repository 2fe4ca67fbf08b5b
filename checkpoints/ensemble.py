"""Train many small networks at once: their parameters are stacked, and one vmapped call runs them all.

Every network has its own task and its own discriminator. At each step all networks see the same batch of pictures, so
that two networks differ by their task alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from checkpoints.discriminator import discriminator, least_squares_loss
from checkpoints.examples import Examples
from checkpoints.examples import Pairs as Pairs
from checkpoints.examples import scaled as scaled
from checkpoints.recipe import ZooRecipe
from paramgen.slots.init_program import slot_generator
from paramgen.zoo.low_rank import restore

_CHUNK: Final = 64  # pictures in a batch of evaluation
BETAS: Final = (0.5, 0.999)  # those of pix2pix


def outputs(
    module: nn.Module, state: Mapping[str, Tensor], stacked: frozenset[str], examples: Examples, inputs: Tensor
) -> Tensor:
    """Return the outputs of every network of the ensemble; only the slots in `stacked` differ between networks."""
    own = {name: 0 if name in stacked else None for name in state}
    each = 0 if inputs.ndim == 5 else None
    return vmap(partial(examples.outputs, module), in_dims=(own, each))(dict(state), inputs)


def stack(tensors: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return `count` copies of each tensor, ready to be trained."""
    return {name: each.detach().expand(count, *each.shape).clone().requires_grad_() for name, each in tensors.items()}


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """The ensemble after so many steps: stacked tensors, and each network's metrics on held-out pictures."""

    steps: int
    tensors: Mapping[str, Tensor]
    metrics: Mapping[str, Float[Tensor, " tasks"]]

    @property
    def distance(self) -> Float[Tensor, " tasks"]:
        """The first metric of each network: its distance or loss."""
        return next(iter(self.metrics.values()))


@final
class Ensemble:
    """Networks of one architecture that are trained side by side."""

    def __init__(
        self,
        module: nn.Module,
        base: Mapping[str, Tensor],
        own: dict[str, Tensor],
        examples: Examples,
        recipe: ZooRecipe,
    ) -> None:
        """`own` is what each network trains of `base`, stacked; its initial values may differ between networks."""
        self.module, self.base, self.own, self.examples, self.recipe = module, base, own, examples, recipe
        self.stacked = frozenset(name.partition(".lora_")[0] for name in own)

    def run(self, train: int, *, seed: int) -> Iterator[Snapshot]:
        """Train on the first `train` examples, and yield the recipe's snapshots."""
        recipe = self.recipe
        discriminators = _Discriminators(seed, self.examples.task_count)
        optimizer = torch.optim.Adam(self.own.values(), lr=recipe.lr, betas=BETAS)
        batches = slot_generator(seed, "places")
        last = recipe.snapshots[-1]
        for step in range(1, last + 1):
            # Constant for the first half of the steps, then linear down to zero.
            lr = recipe.lr * min(1.0, 2 * (1 - (step - 1) / last))
            inputs, targets = self.examples.at(torch.randint(train, (recipe.batch,), generator=batches))
            predicted = self.outputs(inputs)
            loss = self.examples.losses(predicted, targets).mean(1).sum()
            if recipe.adversarial:
                discriminators.train(inputs, targets, predicted.detach(), lr=lr)
                loss = loss + recipe.adversarial * discriminators.adversarial_loss(inputs, predicted)
            _step(optimizer, loss, lr=lr)
            if step in recipe.snapshots:
                tensors = {name: each.detach().clone() for name, each in self.own.items()}
                yield Snapshot(steps=step, tensors=tensors, metrics=self.metrics(train))

    def outputs(self, inputs: Tensor) -> Tensor:
        """Return the outputs of every network."""
        state = restore(self.base, self.own, scale=self.recipe.alpha / self.recipe.rank)
        return outputs(self.module, state, self.stacked, self.examples, inputs)

    @torch.no_grad()
    def metrics(self, begin: int) -> dict[str, Float[Tensor, " tasks"]]:
        """Return each network's metrics on the pictures from `begin` on."""
        found: dict[str, list[Tensor]] = {}
        for indices in torch.arange(begin, self.examples.count).split(_CHUNK):
            inputs, targets = self.examples.at(indices)
            for name, each in self.examples.metrics(self.outputs(inputs), targets).items():
                found.setdefault(name, []).append(each)
        return {name: torch.cat(each, 1).mean(1) for name, each in found.items()}

    def distance(self, begin: int) -> Float[Tensor, " tasks"]:
        """Return each network's distance or loss on the pictures from `begin` on."""
        return next(iter(self.metrics(begin).values()))


class _Discriminators:
    """One discriminator for each network of the ensemble, with its optimizer."""

    def __init__(self, seed: int, count: int) -> None:
        self.module = discriminator(seed)
        self.parameters = stack(dict(self.module.named_parameters()), count)
        self.optimizer = torch.optim.Adam(self.parameters.values(), betas=BETAS)

    def train(self, inputs: Tensor, targets: Tensor, predicted: Tensor, *, lr: float) -> None:
        """Take one step in which targets are real and predictions are not."""
        real = least_squares_loss(self._scores(self.parameters, inputs, targets), real=True)
        fake = least_squares_loss(self._scores(self.parameters, inputs, predicted), real=False)
        _step(self.optimizer, (real + fake) / 2, lr=lr)

    def adversarial_loss(self, inputs: Tensor, predicted: Tensor) -> Tensor:
        """Return the loss of the networks: how far their predictions are from being taken for real."""
        fixed = {name: each.detach() for name, each in self.parameters.items()}
        return least_squares_loss(self._scores(fixed, inputs, predicted), real=True)

    def _scores(self, parameters: Mapping[str, Tensor], inputs: Tensor, edited: Tensor) -> Tensor:
        pairs = torch.cat([inputs.expand_as(edited), edited], 2)  # (tasks, batch, 6, height, width)

        def one(state: dict[str, Tensor], batch: Tensor) -> Any:
            return functional_call(self.module, state, (batch,))

        return vmap(one)(dict(parameters), pairs)


def _step(optimizer: torch.optim.Optimizer, loss: Tensor, *, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
