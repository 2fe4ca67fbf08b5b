"""One run: a network is trained from a start, and tested after some of the steps."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from math import isfinite
from time import perf_counter
from typing import Any, Final, final

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from paramgen.comparison.protocol import Protocol
from paramgen.comparison.subjects import Subject
from paramgen.comparison.tasks import Batch, Task
from paramgen.slots.manifest import state_of

NORM_BATCHES: Final = 8
"""Batches over which a start's batch norms are given their statistics before it is tested."""

_LARGE: Final = 256  # images or windows in one batch of testing, at least


@final
@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bench:
    """What all runs of an architecture share."""

    subject: Subject
    task: Task
    protocol: Protocol
    accelerator: Accelerator


def train(
    bench: Bench, state: Mapping[str, Any], *, rate: float, seed: int, advance: Callable[[int], None]
) -> dict[str, Any]:
    """Train from `state` and return what was measured; `advance` is called with the steps done.

    A run whose loss or answers are no longer finite ends there, with the status `diverged`.
    """
    accelerator = Accelerator()  # it keeps what it prepares: a new one for each run lets the last run's network go
    bench = replace(bench, accelerator=accelerator)
    protocol = bench.protocol
    with _own_randomness(accelerator.device):
        torch.manual_seed(seed)
        module = _loaded(bench.subject, state)
        fused = accelerator.device.type in ("cpu", "cuda")
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=protocol.decay, fused=fused)
        module, optimizer = accelerator.prepare(module, optimizer)
        try:
            return _measured(bench, module, optimizer, rate, seed=seed, advance=advance)
        finally:
            if accelerator.device.type != "cpu":  # where memory is scarce, look for what refers to itself, too
                accelerator.free_memory()


def _measured(
    bench: Bench, module: nn.Module, optimizer: Any, rate: float, *, seed: int, advance: Callable[[int], None]
) -> dict[str, Any]:
    protocol = bench.protocol
    curve: dict[str, list[Any]] = {"steps": [], "accuracy": [], "loss": [], "train_loss": []}
    batches = bench.task.train_batches(seed, protocol.batch)
    status, seconds, done = "finished", 0.0, 0
    train_loss: float | None = None
    for point in protocol.points:
        if point > 0:
            started = perf_counter()
            train_loss = _steps(bench, module, optimizer, batches, rates=_rates(protocol, rate, done, point))
            seconds += perf_counter() - started
            done = point
        with _settled_norms(bench, module, seed) if point == 0 else _as_they_are():
            accuracy, loss = _tested(bench, module, bench.task.test_batches)
        finite = isfinite(loss) and (train_loss is None or isfinite(train_loss))
        if finite:
            for name, value in (("steps", point), ("accuracy", accuracy), ("loss", loss), ("train_loss", train_loss)):
                curve[name].append(value)
        elif point > 0:
            status = "diverged"
            break
        else:  # a start whose answers overflow may still learn; until then it knows nothing
            for name, missing in (("steps", 0), ("accuracy", None), ("loss", None), ("train_loss", None)):
                curve[name].append(missing)
        advance(done)
    return {
        "status": status,
        **curve,
        "validation": _validated(bench, module) if status == "finished" else None,
        "seconds": round(seconds, 3),
    }


def _validated(bench: Bench, module: nn.Module) -> dict[str, float] | None:
    """Return accuracy and loss on the data that learning rates are chosen on; None where they are not finite."""
    accuracy, loss = _tested(bench, module, bench.task.validation_batches)
    return {"accuracy": accuracy, "loss": loss} if isfinite(loss) else None


def _rates(protocol: Protocol, rate: float, first: int, last: int) -> list[float]:
    return [protocol.rate_at(step, rate) for step in range(first, last)]


def _steps(bench: Bench, module: nn.Module, optimizer: Any, batches: Iterator[Batch], *, rates: list[float]) -> float:
    """Take one step for each rate and return the mean loss, read once: a device need not wait for every step."""
    module.train()
    accelerator = bench.accelerator
    total = torch.zeros((), device=accelerator.device)
    for rate in rates:
        for group in optimizer.param_groups:
            group["lr"] = rate
        inputs, targets = _placed(bench, next(batches))
        scores, wanted = bench.task.answers(bench.subject.logits(module, inputs), targets)
        loss = nn.functional.cross_entropy(scores, wanted)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(module.parameters(), bench.protocol.clip)
        optimizer.step()
        optimizer.zero_grad()
        total += loss.detach()
    return float(total) / len(rates)


@torch.no_grad()
def _tested(bench: Bench, module: nn.Module, batches: Callable[[int], Iterator[Batch]]) -> tuple[float, float]:
    """Return accuracy and mean loss (nats) over all batches."""
    module.eval()
    right = torch.zeros((), dtype=torch.int64, device=bench.accelerator.device)
    loss = torch.zeros((), dtype=torch.float64 if right.device.type != "mps" else torch.float32, device=right.device)
    count = 0
    for batch in batches(max(bench.protocol.batch, _LARGE)):
        inputs, targets = _placed(bench, batch)
        scores, wanted = bench.task.answers(bench.subject.logits(module, inputs), targets)
        right += (scores.argmax(1) == wanted).sum()
        loss += nn.functional.cross_entropy(scores, wanted, reduction="sum")
        count += len(wanted)
    return int(right) / count, float(loss) / count


@contextmanager
def _settled_norms(bench: Bench, module: nn.Module, seed: int) -> Iterator[None]:
    """Give batch norms the statistics of the first training batches, for the time of one test.

    A start's own statistics, mean 0 and variance 1, are those of no data: a good start would be judged by them as
    blind. Trained networks are judged with the statistics that training left them.
    """
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
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
        for batch in islice(bench.task.train_batches(seed, bench.protocol.batch), NORM_BATCHES):
            bench.subject.logits(module, _placed(bench, batch)[0])
    yield
    for norm, (buffers, momentum) in zip(norms, kept, strict=True):
        norm.momentum = momentum
        for name, buffer in norm.named_buffers():
            buffer.copy_(buffers[name])


@contextmanager
def _as_they_are() -> Iterator[None]:
    yield


def _placed(bench: Bench, batch: Batch) -> Batch:
    device = bench.accelerator.device
    inputs, targets = (each.to(device, non_blocking=True) for each in batch)
    return inputs, targets


@torch.no_grad()
def _loaded(subject: Subject, state: Mapping[str, Any]) -> nn.Module:
    """Return a copy of the template that holds `state`; what its owner froze stays frozen."""
    module = copy.deepcopy(subject.template)
    for name, tensor in state_of(module).items():
        tensor.detach().copy_(state[name])
    return module


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Leave the caller's random numbers as they are."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
