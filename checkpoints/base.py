"""Train the base checkpoint of a zoo, from which every task is fine-tuned.

The base is trained for fast adaptation, as in multi-task or meta learning: in each episode a batch of tasks begins with
low-rank factors of zero, as they will in the zoo, and the base is trained together with them. Its state is saved after
every episode, so that a killed process loses at most one.
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
from checkpoints.networks import targets, trained
from checkpoints.task_sets import TaskSet
from checkpoints.writing import write_tensors
from paramgen.slots.init_program import slot_generator
from paramgen.zoo.low_rank import RIGHT, first_factors, restore

NAME: Final = "base-training.safetensors"
"""The state of the base's training, which is removed when the base is done."""
_OPTIMIZER: Final = "optimizer."


def train_base(task_set: TaskSet, folder: Path, report: Callable[[int, int], None]) -> dict[str, Tensor]:
    """Return the base checkpoint, trained from the default initialization on tasks of the training split only."""
    recipe = task_set.recipe
    network = task_set.network.initialized(recipe.seed)
    base = {name: each.detach().clone() for name, each in network.state_dict().items()}
    if recipe.common and recipe.form == "low_rank":
        factors = first_factors(base, targets(base), rank=recipe.rank, seed=recipe.seed)
        base |= {name: each for name, each in factors.items() if name.endswith(RIGHT)}
    for each in base.values():
        each.requires_grad_()
    optimizer = torch.optim.Adam(base.values(), lr=recipe.base.lr)
    done = _resume(folder / NAME, base, optimizer)
    tasks = [task for task in task_set.tasks() if task.split == "train"]
    for episode in range(done, recipe.base.episodes):
        report(episode, recipe.base.episodes)
        draw = random.Random(f"{recipe.seed} episode {episode}")
        examples = task_set.examples(draw.sample(tasks, min(recipe.base.group, len(tasks))))
        _train_episode(task_set, examples, base, optimizer, episode)
        _save(folder / NAME, base, optimizer, episode + 1)
    report(recipe.base.episodes, recipe.base.episodes)
    return {name: each.detach() for name, each in base.items()}


def _train_episode(
    task_set: TaskSet, examples: Examples, base: dict[str, Tensor], optimizer: torch.optim.Optimizer, episode: int
) -> None:
    """Train the base together with new low-rank factors and small slots of each task."""
    recipe = task_set.recipe
    count, module = examples.task_count, task_set.network.initialized(recipe.seed)
    slots, whole = targets(base), trained(base)
    factors = {
        name: each.expand(count, *each.shape).clone().requires_grad_()
        for name, each in first_factors(base, slots, rank=recipe.rank, seed=recipe.seed).items()
        if name not in base
    }
    changes = {name: torch.zeros(count, *base[name].shape, requires_grad=True) for name in whole}
    task_optimizer = torch.optim.Adam([*factors.values(), *changes.values()], lr=recipe.base.task_lr)
    batches = slot_generator(recipe.seed, f"episode {episode}")
    stacked = frozenset((*slots, *whole))
    for _ in range(recipe.base.steps):
        inputs, wanted = examples.at(torch.randint(task_set.train_count, (recipe.base.batch,), generator=batches))
        moved = {name: base[name] + change for name, change in changes.items()}
        state = restore(base, {**factors, **moved}, scale=recipe.alpha / recipe.rank)
        loss = examples.losses(outputs(module, state, stacked, examples, inputs), wanted).mean(1).sum()
        for each in (optimizer, task_optimizer):
            each.zero_grad(set_to_none=True)
        loss.backward()
        for each in (optimizer, task_optimizer):
            each.step()


def _save(path: Path, base: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, done: int) -> None:
    tensors = dict(base)
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{index}.{key}": torch.as_tensor(value) for key, value in values.items()}
    write_tensors(path, tensors, {"episodes": json.dumps(done)})


def _resume(path: Path, base: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> int:
    """Restore a saved state, if there is one, and return how many episodes it has behind it."""
    if not path.exists():
        return 0
    state: dict[int, dict[str, Tensor]] = {}
    with safe_open(path, framework="pt") as file, torch.no_grad():
        for name in file.keys():  # noqa: SIM118 - not a mapping
            if name.startswith(_OPTIMIZER):
                index, _, key = name.removeprefix(_OPTIMIZER).partition(".")
                state.setdefault(int(index), {})[key] = file.get_tensor(name)
            else:
                base[name].copy_(file.get_tensor(name))
        done = int(json.loads(file.metadata()["episodes"]))
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return done
