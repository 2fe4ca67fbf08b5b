"""Distributed training of one model: check the number of processes, and exchange gradients and observations."""

import os
from collections.abc import Iterable, Mapping
from typing import Final

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, broadcast
from torch import Tensor

from paramgen.errors import OptionError
from training.config import Precision

_TOGETHER: Final = (DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


def requested_processes(processes: int | None, environment: Mapping[str, str]) -> int:
    """Return the requested number of processes: by `--processes`, else by the launcher, else one.

    `accelerate launch --cpu --num_processes 2` starts one process in silence; all that it leaves of the two is
    MASTER_ADDR without the WORLD_SIZE that torchrun sets.
    """
    if processes is not None:
        if processes < 1:
            raise OptionError(f"--processes {processes}; a run has at least 1.")
        return processes
    if "WORLD_SIZE" in environment:
        return int(environment["WORLD_SIZE"])
    if "MASTER_ADDR" in environment:
        raise OptionError(
            f"The launcher was to start several processes and started one. Type: {_command(2)} (or --processes 1)"
        )
    return 1


def accelerator_for(precision: Precision, processes: int | None) -> Accelerator:
    """Return the accelerator of a run; raise OptionError if processes or precision are not as requested."""
    requested = requested_processes(processes, os.environ)
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != requested:
        raise OptionError(
            f"Started processes: {started}, requested: {requested}. "
            f"Type: {_command(requested) if requested > 1 else f'--processes {started}'}"
        )
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if launched not in ("no", precision):
        raise OptionError(f"The launcher sets {launched}, the run {precision}. Type: --precision {launched}")
    accelerator = Accelerator(mixed_precision=precision)
    kind = accelerator.distributed_type
    if accelerator.num_processes != requested or (
        kind not in _TOGETHER if requested > 1 else kind != DistributedType.NO
    ):
        raise OptionError(
            f"Processes: {accelerator.num_processes} of type {kind.value}, requested: {requested} with a whole model. "
            f"Type: {_command(requested)}"
        )
    return accelerator


def _command(processes: int) -> str:
    if processes == 1:
        return "python -m training ..."
    environment = "" if torch.cuda.is_available() else "ACCELERATE_USE_CPU=true "
    return f"{environment}torchrun --nproc-per-node {processes} -m training ..."


def agreed(accelerator: Accelerator, decision: bool) -> bool:
    """Return the main process's decision to all processes, whose clocks differ."""
    if accelerator.num_processes == 1:
        return decision
    flag = torch.tensor([int(decision)], device=accelerator.device)
    return bool(broadcast(flag, from_process=0).item())


def add_up(accelerator: Accelerator, parameters: Iterable[Tensor]) -> None:
    """Replace every process's gradients by their sum over the processes, in one message."""
    if accelerator.num_processes == 1:
        return
    parameters = list(parameters)
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
    total = accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), reduction="sum")
    parts = total.split([each.numel() for each in parameters])
    for each, part in zip(parameters, parts, strict=True):
        each.grad = part.view_as(each)


def collected(accelerator: Accelerator, rows: Tensor, count: int) -> Tensor:
    """Return the `count` rows of all processes, in the order of their first column, to all of them."""
    if accelerator.num_processes == 1:
        return rows
    most = -(-count // accelerator.num_processes)
    padded = rows.new_full((most, rows.shape[1]), torch.inf)  # processes with fewer rows fill up with late ones
    padded[: len(rows)] = rows
    gathered = accelerator.gather(padded.to(accelerator.device)).to(rows)
    return gathered[gathered[:, 0].argsort()][:count]
