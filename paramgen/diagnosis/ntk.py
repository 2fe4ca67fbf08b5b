"""The neural tangent kernel at initialization (Jacot et al., 2018, arXiv:1806.07572): how fast directions are learnt.

The kernel of two examples is the product of the gradients of the network's output at them. Of several outputs the sum
is taken, divided by the root of their number (Mohamadi et al., 2023, arXiv:2206.12543), so it has one row an example.
"""

from collections.abc import Mapping
from typing import ClassVar, Final, final

import torch
from jaxtyping import Float64
from torch import Tensor

from paramgen.diagnosis import Measure, Observation, Threshold, measures
from paramgen.diagnosis.gradient import effective_rank
from paramgen.diagnosis.trial import Trial
from paramgen.errors import OptionError
from paramgen.serving.memory import machine_memory

MAX_KERNEL_ROWS: Final = 4096
_DEFAULT_ROWS: Final = 32
_LEAST_ROWS: Final = 2
_COPIES: Final = 3  # of the gradients: the rows themselves, the weights and what a backward pass holds


@final
@measures.register("ntk")
class Ntk(Measure):
    """The tangent kernel's spectrum: its largest eigenvalue, condition number and effective rank."""

    __slots__ = ()

    labels: ClassVar[Mapping[str, str]] = {
        "rows": "rows of the kernel",
        "largest": "largest eigenvalue",
        "condition": "condition number",
        "rank": "effective rank of the kernel",
        "alignment": "alignment with the labels",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "condition": Threshold(
            good=(0.0, 1e4),
            watch=(0.0, 1e7),
            high="Some directions are learnt far more slowly than others: use normalization, or fewer layers.",
        ),
    }

    def observe(self, trial: Trial) -> Observation:
        """Compute the kernel of the examples, or of as many of them as memory allows."""
        rows = rows_for(trial)
        kernel = tangent_kernel(trial, rows)
        labels = trial.sample.labels
        aligned = {} if labels is None else {"alignment": alignment(kernel, labels[:rows])}
        return Observation(figures={"rows": float(rows), **spectrum_of(kernel), **aligned})


def spectrum_of(kernel: Float64[Tensor, "rows rows"]) -> dict[str, float | None]:
    """Return what the eigenvalues of a kernel say; a condition number beyond float32 is counted as its limit."""
    if not bool(kernel.isfinite().all()) or not bool(kernel.any()):
        return {"largest": None, "condition": None, "rank": None}
    values = torch.linalg.eigvalsh(kernel)
    largest = float(values[-1])
    least = max(float(values[0]), largest * torch.finfo(torch.float32).eps)
    return {"largest": largest, "condition": largest / least, "rank": effective_rank(values) / len(kernel)}


def rows_for(trial: Trial) -> int:
    """Return how many rows the kernel gets: what was requested, or what is quick and fits.

    Raises:
        OptionError: More were requested than are allowed, or than memory has room for.
    """
    bytes_a_row = 4 * sum(each.numel() for each in trial.module.parameters() if each.requires_grad)
    memory = machine_memory()
    fitting = MAX_KERNEL_ROWS if memory is None else max(0, memory // 2 // max(1, bytes_a_row) - _COPIES)
    allowed = min(MAX_KERNEL_ROWS, fitting)
    if allowed < _LEAST_ROWS:
        raise OptionError(
            f"The tangent kernel of {trial.architecture.spec} needs {bytes_a_row / 1e9:.1f} GB a row, and there is "
            "no room for two. Leave ntk out: --what signal,guessing,gradient"
        )
    requested = trial.sample.count if trial.requested else min(trial.sample.count, _DEFAULT_ROWS, max(2, allowed // 2))
    if requested > allowed:
        why = f"{MAX_KERNEL_ROWS:,} are allowed" if allowed == MAX_KERNEL_ROWS else f"memory has room for {allowed:,}"
        raise OptionError(
            f"The tangent kernel of {requested:,} examples is too large: {why}. Type: --examples {allowed}, or leave "
            "ntk out: --what signal,guessing,gradient"
        )
    return requested


def tangent_kernel(trial: Trial, rows: int) -> Float64[Tensor, "rows rows"]:
    """Return the products of the gradients of the output at the first `rows` examples, batch normalization frozen."""
    parameters = [each for each in trial.module.parameters() if each.requires_grad and each.is_floating_point()]
    jacobian = torch.zeros(rows, sum(each.numel() for each in parameters))
    with trial.frozen():
        for row in range(rows):
            scores = trial.scores(trial.sample.part(row, row + 1))
            output = scores.sum() / scores.numel() ** 0.5
            found = torch.autograd.grad(output, parameters, allow_unused=True, materialize_grads=True)
            torch.cat([gradient.flatten() for gradient in found], out=jacobian[row])
    return (jacobian @ jacobian.T).double()


def alignment(kernel: Float64[Tensor, "rows rows"], labels: Tensor) -> float | None:
    """Return the cosine of the centred kernel and that of the labels, which is 1 for examples of one class, else 0."""
    same = (labels[:, None] == labels[None, :]).double()
    first, second = _centred(kernel), _centred(same)
    size = first.norm() * second.norm()
    return float((first * second).sum() / size) if bool(size > 0) else None


def _centred(kernel: Float64[Tensor, "rows rows"]) -> Float64[Tensor, "rows rows"]:
    return kernel - kernel.mean(0, keepdim=True) - kernel.mean(1, keepdim=True) + kernel.mean()
