"""The shared start: a base that many concepts train well from, found by training it below their own factors.

In each episode new concepts begin with factors of zero, as they will in the zoo; the base learns all along. It is saved
after every episode, so that a kill costs one of them.
"""

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open
from torch import Tensor

from checkpoints.ensemble import outputs
from checkpoints.examples import Examples
from checkpoints.kinds import Kind
from checkpoints.networks import targets, trained
from checkpoints.writing import write_tensors
from paramgen.slots.init_program import slot_generator
from paramgen.zoo.low_rank import RIGHT, first_factors, restore

NAME: Final = "start.safetensors"
_OPTIMIZER: Final = "optimizer."


def shared_start(kind: Kind, folder: Path, report: Callable[[int, int], None]) -> dict[str, Tensor]:
    """Return the base, trained from the library's own start on concepts of the training split only."""
    recipe = kind.recipe
    base = {name: each.detach().clone() for name, each in kind.network.made(recipe.seed).state_dict().items()}
    if recipe.common and recipe.form == "low_rank":
        factors = first_factors(base, targets(base), rank=recipe.rank, seed=recipe.seed)
        base |= {name: each for name, each in factors.items() if name.endswith(RIGHT)}
    for each in base.values():
        each.requires_grad_()
    learner = torch.optim.Adam(base.values(), lr=recipe.start.rate)
    done = _resumed(folder / NAME, base, learner)
    own = [concept for concept in kind.concepts() if concept.split == "train"]
    for episode in range(done, recipe.start.episodes):
        report(episode, recipe.start.episodes)
        draw = random.Random(f"{recipe.seed} episode {episode}")
        examples = kind.examples(draw.sample(own, min(recipe.start.group, len(own))))
        _episode(kind, examples, base, learner, episode)
        _save(folder / NAME, base, learner, episode + 1)
    report(recipe.start.episodes, recipe.start.episodes)
    return {name: each.detach() for name, each in base.items()}


def _episode(
    kind: Kind, examples: Examples, base: dict[str, Tensor], learner: torch.optim.Optimizer, episode: int
) -> None:
    """Train the base and the factors of these concepts together."""
    recipe = kind.recipe
    count, module = examples.tasks, kind.network.made(recipe.seed)
    slots, whole = targets(base), trained(base)
    first = {
        name: each.expand(count, *each.shape).clone().requires_grad_()
        for name, each in first_factors(base, slots, rank=recipe.rank, seed=recipe.seed).items()
        if name not in base
    }
    changes = {name: torch.zeros(count, *base[name].shape, requires_grad=True) for name in whole}
    own = torch.optim.Adam([*first.values(), *changes.values()], lr=recipe.start.own_rate)
    places = slot_generator(recipe.seed, f"episode {episode}")
    stacked = frozenset((*slots, *whole))
    for _ in range(recipe.start.steps):
        inputs, wanted = examples.at(torch.randint(kind.trained_on, (recipe.start.batch,), generator=places))
        moved = {name: base[name] + change for name, change in changes.items()}
        state = restore(base, {**first, **moved}, scale=recipe.alpha / recipe.rank)
        loss = examples.off(outputs(module, state, stacked, examples, inputs), wanted).mean(1).sum()
        for optimizer in (learner, own):
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in (learner, own):
            optimizer.step()


def _save(path: Path, base: Mapping[str, Tensor], learner: torch.optim.Optimizer, done: int) -> None:
    tensors = dict(base)
    for place, values in learner.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{place}.{key}": torch.as_tensor(value) for key, value in values.items()}
    write_tensors(path, tensors, {"episodes": json.dumps(done)})


def _resumed(path: Path, base: Mapping[str, Tensor], learner: torch.optim.Optimizer) -> int:
    """Put a saved state back in place, and return how many episodes it has behind it."""
    if not path.exists():
        return 0
    state: dict[int, dict[str, Tensor]] = {}
    with safe_open(path, framework="pt") as file, torch.no_grad():
        for name in file.keys():  # noqa: SIM118 - not a mapping
            if name.startswith(_OPTIMIZER):
                place, _, key = name.removeprefix(_OPTIMIZER).partition(".")
                state.setdefault(int(place), {})[key] = file.get_tensor(name)
            else:
                base[name].copy_(file.get_tensor(name))
        done = int(json.loads(file.metadata()["episodes"]))
    learner.load_state_dict({"state": state, "param_groups": learner.state_dict()["param_groups"]})
    return done
