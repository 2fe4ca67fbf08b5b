"""One run: a network is trained from initial weights, and tested after some of the steps."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from math import isfinite
from time import perf_counter
from typing import Any, Final, final

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from paramgen.comparison.models import ModelUnderTest
from paramgen.comparison.mup_rates import LrFactors, no_factors, parameter_groups
from paramgen.comparison.protocol import Protocol
from paramgen.comparison.run_record import RunRecord, Scores, Status
from paramgen.comparison.tasks import Batch, Task
from paramgen.graphs.analysis.roles import linear_maps_of
from paramgen.initializers.linear_maps import std_of
from paramgen.modifiers.constraints import Constraint
from paramgen.modifiers.masking.soft import SoftThresholds, output_axes
from paramgen.output.rescaling import matrices, rescale
from paramgen.slots.manifest import state_of
from paramgen.slots.torch_internals import BatchNorm

NORM_BATCHES: Final = 8
"""Batches over which batch norms are given their statistics where training has not given them any yet."""

UNSETTLED: Final = 0.01
"""A batch norm's running statistics are used once no more than this share of them is what the constructor set."""

_LARGE: Final = 256  # images or windows in one batch of testing, at least


@final
@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Job:
    """What all runs of an architecture share."""

    model: ModelUnderTest
    task: Task
    protocol: Protocol
    accelerator: Accelerator
    lr_factors: LrFactors = field(default_factory=no_factors)  # of the weights that have a learning rate of their own


def train(
    job: Job,
    state: Mapping[str, Any],
    *,
    lr: float,
    seed: int,
    advance: Callable[[int], None],
    constraint: Constraint | None = None,
) -> RunRecord:
    """Train from the initial weights `state` and return what was measured; `advance` is called with the steps done.

    The constraint holds from the first step on. A run whose loss or answers are no longer finite ends there, with the
    status `diverged`.
    """
    accelerator = Accelerator()  # it keeps what it prepares: a new one for each run lets the last run's network go
    job = replace(job, accelerator=accelerator)
    protocol = job.protocol
    with own_randomness(accelerator.device):
        torch.manual_seed(seed)
        module = loaded(job.model, state)
        factors = job.lr_factors.by_parameter(module)  # by the names that they have before they are constrained
        if constraint is not None:
            constraint.hold(module)
        thresholds = _thresholds(job, module)
        groups = parameter_groups(module, factors, decay=protocol.decay)
        fused = accelerator.device.type in ("cpu", "cuda")
        optimizer = torch.optim.AdamW(groups, lr=lr, fused=fused)
        module, optimizer = accelerator.prepare(module, optimizer)
        try:
            return _measured(job, module, optimizer, lr, seed=seed, advance=advance, thresholds=thresholds)
        finally:
            if accelerator.device.type != "cpu":  # where memory is scarce, look for what refers to itself, too
                accelerator.free_memory()


def _measured(
    job: Job,
    module: nn.Module,
    optimizer: Any,
    lr: float,
    *,
    seed: int,
    advance: Callable[[int], None],
    thresholds: SoftThresholds | None,
) -> RunRecord:
    """Train and test in turn, and return the curves."""
    protocol = job.protocol
    steps: list[int] = []
    curves: list[tuple[float | None, float | None, float | None]] = []  # accuracy, loss, training loss
    batches = job.task.train_batches(seed, protocol.batch)
    status: Status = "finished"
    stds = None if protocol.rescale_every is None else _target_stds(protocol, module)
    seconds, done = 0.0, 0
    train_loss: float | None = None
    for point in protocol.points:
        if point > 0:
            began = perf_counter()
            train_loss = train_steps(
                module,
                optimizer,
                batches,
                accelerator=job.accelerator,
                protocol=protocol,
                lr=lr,
                steps=range(done, point),
                loss_of=lambda batch: _loss(job, module, batch),
                after=partial(_after_step, module, protocol=protocol, stds=stds, thresholds=thresholds),
            )
            seconds += perf_counter() - began
            done = point
        with _batch_statistics(job, module, seed, steps=point):
            scores = _tested(job, module, job.task.test_batches)
        finite = isfinite(scores.loss) and (train_loss is None or isfinite(train_loss))
        if not finite and point > 0:
            status = "diverged"
            break
        steps.append(point)
        # Initial weights whose answers overflow may still learn; until then they know nothing.
        curves.append((scores.accuracy, scores.loss, train_loss) if finite else (None, None, None))
        advance(done)
    accuracy, loss, train_losses = zip(*curves, strict=True)
    return RunRecord(
        status=status,
        steps=tuple(steps),
        accuracy=accuracy,
        loss=loss,
        train_loss=train_losses,
        validation=_validated(job, module, seed) if status == "finished" else None,
        seconds=round(seconds, 3),
    )


def _validated(job: Job, module: nn.Module, seed: int) -> Scores | None:
    """Return accuracy and loss on the data that learning rates are chosen on; None where they are not finite."""
    with _batch_statistics(job, module, seed, steps=job.protocol.steps):
        scores = _tested(job, module, job.task.validation_batches)
    return scores if isfinite(scores.loss) else None


def _loss(job: Job, module: nn.Module, batch: Batch) -> Tensor:
    inputs, targets = _on_device(job, batch)
    logits, wanted = job.task.answers(job.model.logits(module, inputs), targets)
    return nn.functional.cross_entropy(logits, wanted)


def _after_step(
    module: nn.Module,
    step: int,
    *,
    protocol: Protocol,
    stds: Mapping[str, float] | None,
    thresholds: SoftThresholds | None,
) -> None:
    """Give matrices their `stds` back, as often as the protocol says, and let thresholds rise."""
    if stds is not None and (step + 1) % (protocol.rescale_every or 1) == 0:
        rescale(module, stds)
    if thresholds is not None:
        thresholds.at((step + 1) / protocol.steps)


def train_steps(
    module: nn.Module,
    optimizer: Any,
    batches: Iterator[Batch],
    *,
    accelerator: Accelerator,
    protocol: Protocol,
    lr: float,
    steps: range,
    loss_of: Callable[[Batch], Tensor],
    after: Callable[[int], None] | None = None,
) -> float:
    """Take the steps and return their mean loss, read once: a device need not wait every step.

    Args:
        module: What is trained.
        optimizer: Of its parameters; a group may have an `lr_factor` of its own.
        batches: One is taken for each step.
        accelerator: Of the device.
        protocol: It knows each step's learning rate, and the norm that all gradients together may have.
        lr: The largest learning rate.
        steps: Of the training.
        loss_of: Returns the loss of the module on a batch.
        after: Called with each step when it was taken.

    """
    module.train()
    total = torch.zeros((), device=accelerator.device)
    for step in steps:
        for group in optimizer.param_groups:
            group["lr"] = protocol.lr_at(step, lr) * group.get("lr_factor", 1.0)
        loss = loss_of(next(batches))
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(module.parameters(), protocol.clip)
        optimizer.step()
        optimizer.zero_grad()
        if after is not None:
            after(step)
        total += loss.detach()
    return float(total) / len(steps)


def _thresholds(job: Job, module: nn.Module) -> SoftThresholds | None:
    """Return the soft threshold of all linear maps that are trained, held, where the protocol has one."""
    if job.protocol.zeros is None:
        return None
    state = state_of(module)
    maps = linear_maps_of(job.model.graph, job.model.architecture.manifest)
    trained = {name: each for name, each in maps.items() if state[name].requires_grad}
    return SoftThresholds(module, output_axes(trained), job.protocol.zeros)


def _target_stds(protocol: Protocol, module: nn.Module) -> dict[str, float]:
    """Return the std that each matrix gets back: the protocol's, or its own in the initial weights."""
    return {name: protocol.rescale_std or std_of(each) for name, each in matrices(module).items()}


@torch.no_grad()
def _tested(job: Job, module: nn.Module, batches: Callable[[int], Iterator[Batch]]) -> Scores:
    """Return accuracy and mean loss (nats) over all batches."""
    module.eval()
    right = torch.zeros((), dtype=torch.int64, device=job.accelerator.device)
    loss = torch.zeros((), dtype=torch.float64 if right.device.type != "mps" else torch.float32, device=right.device)
    count = 0
    for batch in batches(max(job.protocol.batch, _LARGE)):
        inputs, targets = _on_device(job, batch)
        logits, wanted = job.task.answers(job.model.logits(module, inputs), targets)
        right += (logits.argmax(1) == wanted).sum()
        loss += nn.functional.cross_entropy(logits, wanted, reduction="sum")
        count += len(wanted)
    return Scores(accuracy=int(right) / count, loss=float(loss) / count)


@contextmanager
def _batch_statistics(job: Job, module: nn.Module, seed: int, *, steps: int) -> Iterator[None]:
    """Give batch norms that have not settled after `steps` the statistics of a few training batches, for one test.

    The statistics that a constructor sets, mean 0 and variance 1, are those of no data: with them even good weights
    would seem to know nothing. Norms that have settled are tested with the statistics that training left them.
    """
    norms = [part for part in module.modules() if isinstance(part, BatchNorm) and not _settled(part, steps)]
    if not norms:
        yield
        return
    kept = [(copy.deepcopy(dict(norm.named_buffers())), norm.momentum) for norm in norms]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    with torch.no_grad():
        for batch in islice(job.task.train_batches(seed, job.protocol.batch), NORM_BATCHES):
            job.model.logits(module, _on_device(job, batch)[0])
    yield
    for norm, (buffers, momentum) in zip(norms, kept, strict=True):
        norm.momentum = momentum
        for name, buffer in norm.named_buffers():
            buffer.copy_(buffers[name])


def _settled(norm: BatchNorm, steps: int) -> bool:
    """Tell whether the running statistics of a batch norm are those of training, after so many steps of it.

    Each step replaces the share `momentum` of them: 0.1 is torch's default (settled after 44 steps), 0.01 that of
    torchvision's MobileNetV3 and of the networks that come from TensorFlow (after 459). A norm without momentum holds
    the mean over all steps, one without running statistics always uses those of the batch.
    """
    if not norm.track_running_stats:
        return True
    momentum = norm.momentum
    return steps > 0 if momentum is None else (1 - momentum) ** steps <= UNSETTLED


def _on_device(job: Job, batch: Batch) -> Batch:
    device = job.accelerator.device
    inputs, targets = (each.to(device, non_blocking=True) for each in batch)
    return inputs, targets


@torch.no_grad()
def loaded(model: ModelUnderTest, state: Mapping[str, Any]) -> nn.Module:
    """Return a copy of the template that holds `state`; what its owner froze stays frozen."""
    module = copy.deepcopy(model.template)
    for name, tensor in state_of(module).items():
        tensor.detach().copy_(state[name])
    return module


@contextmanager
def own_randomness(device: torch.device) -> Iterator[None]:
    """Leave the caller's random numbers as they are."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
