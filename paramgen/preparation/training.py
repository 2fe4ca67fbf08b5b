"""The training of a preparation, which may be killed at any moment and goes on from its last checkpoint, bit for bit.

The examples of a step and what is random in it depend on the seed and the step alone. A checkpoint holds everything
else: parameters, buffers, what the optimizer knows, and how far the training is.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any, Final, final

import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from paramgen.comparison.protocol import Protocol
from paramgen.comparison.tasks import Batch
from paramgen.comparison.training import own_randomness, train_steps
from paramgen.errors import OptionError, OutputError, one_line
from paramgen.preparation import Objective
from paramgen.slots.init_program import one_thread

CHECKPOINT: Final = "checkpoint.safetensors"
CHECKPOINT_SECONDS: Final = 20.0  # between two checkpoints, at least
REPORTS: Final = 20  # how often a training says how far it is
_MOST_STEPS: Final = 100  # between two reports
_OPTIMIZER: Final = "optimizer/"  # no module has such a name

Report = Callable[[str, int, int], None]
"""Called with a text that has the loss, the steps done and all steps."""


@final
@dataclass(slots=True, kw_only=True)
class Course:
    """How far a training is: the mean loss of each part, and the seconds that it took."""

    done: int = 0
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def loss(self) -> float:
        """The mean loss of the last part."""
        return self.losses[-1]


def train(
    objective: Objective,
    protocol: Protocol,
    folder: Path,
    *,
    seed: int,
    accelerator: Accelerator,
    report: Report | None = None,
) -> Course:
    """Train to the last step, from the checkpoint in `folder` if there is one.

    Raises:
        OptionError: The loss is no longer finite.

    """
    module = objective.module
    trained = {name: each for name, each in module.named_parameters() if each.requires_grad}
    (lr,) = protocol.learning_rates
    with own_randomness(accelerator.device), one_thread():
        fused = accelerator.device.type in ("cpu", "cuda")
        optimizer = torch.optim.AdamW(trained.values(), lr=lr, weight_decay=protocol.decay, fused=fused)
        course = _resumed(folder / CHECKPOINT, module, optimizer, list(trained))
        batches = _seeded(objective.batches(course.done), seed, course.done)
        part = max(1, min(protocol.steps // REPORTS, _MOST_STEPS))
        kept = perf_counter()
        while course.done < protocol.steps:
            began = perf_counter()
            last = min(course.done + part, protocol.steps)
            loss = train_steps(
                module,
                optimizer,
                batches,
                accelerator=accelerator,
                protocol=protocol,
                lr=lr,
                steps=range(course.done, last),
                loss_of=objective.loss,
            )
            _refuse_divergence(loss, trained, last, lr)
            course.losses.append(loss)
            course.done, course.seconds = last, course.seconds + perf_counter() - began
            if report is not None:
                report(f"step {last:,}, loss {loss:.4g}", last, protocol.steps)
            if last < protocol.steps and perf_counter() - kept >= CHECKPOINT_SECONDS:
                _keep(folder / CHECKPOINT, module, optimizer, list(trained), course)
                kept = perf_counter()
    return course


def _seeded(batches: Iterator[Batch], seed: int, start: int) -> Iterator[Batch]:
    """Yield batches and give each step random numbers of its own, for dropout."""
    for step, batch in enumerate(batches, start):
        torch.manual_seed((seed * 1_000_003 + step) % 2**63)
        yield batch


def _refuse_divergence(loss: float, trained: dict[str, nn.Parameter], step: int, lr: float) -> None:
    finite = isfinite(loss) and all(bool(each.detach().isfinite().all()) for each in trained.values())
    if not finite:
        raise OptionError(
            f"The training diverged before step {step:,} at the learning rate {lr:g}; nothing was written. "
            f"Type: --lr {lr / 10:g}"
        )


def _keep(file: Path, module: nn.Module, optimizer: Any, names: list[str], course: Course) -> None:
    """Write a checkpoint in one step: a process that is killed leaves the last one, or this one."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{names[index]}.{key}": value for key, value in state.items()}
    held = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    about = {"done": course.done, "losses": course.losses, "seconds": course.seconds}
    partial = file.with_suffix(".partial")
    try:
        save_file(held, partial, metadata={"course": json.dumps(about)})
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(file)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise OutputError(
            f"Cannot write {str(file)!r}: {one_line(error)}. Make room, and type the command again"
        ) from (error)


@torch.no_grad()
def _resumed(file: Path, module: nn.Module, optimizer: Any, names: list[str]) -> Course:
    """Bring module and optimizer to where a checkpoint was kept; without one, to the first step."""
    if not file.is_file():
        return Course()
    own: dict[str, Tensor] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    index = {name: place for place, name in enumerate(names)}
    states: dict[int, dict[str, Tensor]] = {place: {} for place in index.values()}
    try:
        with safe_open(file, framework="pt") as opened:
            about = json.loads(opened.metadata()["course"])
            for name in list(opened.keys()):
                if name.startswith(_OPTIMIZER):
                    slot, _, key = name.removeprefix(_OPTIMIZER).rpartition(".")
                    states[index[slot]][key] = opened.get_tensor(name)
                else:
                    own.pop(name).copy_(opened.get_tensor(name))
            course = Course(done=int(about["done"]), losses=list(about["losses"]), seconds=float(about["seconds"]))
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    except (OSError, SafetensorError, LookupError, ValueError, TypeError, RuntimeError) as error:
        raise OutputError(
            f"The checkpoint {str(file)!r} cannot be read: {type(error).__name__}. To begin anew, delete the folder "
            f"{str(file.parent)!r}"
        ) from error
    return course
