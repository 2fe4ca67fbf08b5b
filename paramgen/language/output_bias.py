"""Ways to make a language model's output say given log-frequencies at any state: which slots change, and how.

Where the output has a bias, that is it. Else one channel of the last states, the last one, is kept: the normalization
before the head returns a constant there, by its shift; without a shift, nothing but the table of tokens writes to that
channel of the stream, which is then nearly constant behind the normalization, too. The head has the log-frequencies,
divided by the constant, in that channel.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.architectures.materialize import materialize, run_once
from paramgen.errors import ArchitectureError, OptionError
from paramgen.graphs.analysis.language_head import LanguageHead
from paramgen.graphs.tracing.recording import tensors_in
from paramgen.slots.torch_internals import tree_map

KEPT_VALUE: Final = 10.0
"""What the last normalization returns in the channel that is kept: a large one leaves little of the log-frequencies in
a table that is read, too, and lets one step of training change the output by more."""

CONSTANT: Final = 1.0
"""What a stream without a shift holds in that channel."""

LEVEL: Final = 10.0
"""What is added to all log-frequencies in a table that is read, too: the channel is that, nearly, for any token."""

MAX_SPREAD: Final = 0.25
"""The constant may differ so much between positions, as a standard deviation in units of its mean."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edit:
    """New values for one index of an axis of a tensor, or for all of it."""

    values: Tensor  # one for each element, or one for all
    axis: int | None = None
    index: int = -1

    def elements(self, shape: tuple[int, ...]) -> int:
        """Return how many elements of a tensor of this shape it changes."""
        count = torch.Size(shape).numel()
        return count if self.axis is None else count // shape[self.axis]

    def of(self, tensor: Tensor) -> Tensor:
        """Return a copy of a tensor with the new values."""
        changed = tensor.clone(memory_format=torch.contiguous_format)
        part = changed if self.axis is None else changed.select(self.axis, self.index)
        part.copy_(self.values.expand(part.shape))
        return changed


def edits_of(head: LanguageHead, logs: Float64[Tensor, " rows"]) -> dict[str, Edit] | None:
    """Return the edits by slot; None where the head has no bias and what it reads cannot be made constant."""
    centred = logs - logs.mean()
    if head.bias is not None:
        return {head.bias: Edit(values=logs)}
    if head.gain is None:
        return None
    if head.shift is not None:
        return {
            head.gain: _constant(0.0, 0),
            head.shift: _constant(KEPT_VALUE, 0),
            head.weight: Edit(values=centred / KEPT_VALUE, axis=head.channels),
        }
    if head.writers is None:
        return None
    edits = {name: _constant(0.0, axis) for name, axis in head.writers}
    edits[head.gain] = _constant(1.0, 0)  # until it is calibrated
    if head.tied:
        edits[head.table] = Edit(values=(LEVEL + centred) * (CONSTANT / LEVEL), axis=1)
    else:
        edits[head.table] = _constant(CONSTANT, 1)
        edits[head.weight] = Edit(values=centred / KEPT_VALUE, axis=head.channels)
    return edits


def needs_calibration(head: LanguageHead) -> bool:
    """Whether a network has to be run to know the constant behind its last normalization."""
    return head.bias is None and head.shift is None


def calibrated(
    architecture: Architecture,
    tensors: Mapping[str, Tensor],
    head: LanguageHead,
    logs: Float64[Tensor, " rows"],
    generator: torch.Generator,
) -> Tensor:
    """Return the gain of the last normalization by which the output says the log-frequencies, in place of `tensors`'.

    The network is run once, on tokens drawn by the frequencies.

    Raises:
        OptionError: The channel is not constant enough.
        ArchitectureError: It does not run.

    """
    logits = _logits(architecture, tensors, head, logs, generator)
    weights, centred = logs.exp(), logs - (logs.exp() * logs).sum()
    slopes = (logits * weights * centred).sum(-1) / (weights * centred.square()).sum()
    mean, spread = float(slopes.mean()), float(slopes.std())
    if not mean > 0 or not spread <= MAX_SPREAD * mean:
        raise OptionError(
            f"The output of {architecture.spec.partition('?')[0]} has no bias, and the channel of its last states that "
            f"is kept instead changes by {spread / abs(mean):.0%} from position to position; allowed are "
            f"{MAX_SPREAD:.0%}. Type another initializer: --init library"
        )
    assert head.gain is not None
    return Edit(values=tensors[head.gain].select(0, -1) / mean, axis=0).of(tensors[head.gain])


@torch.no_grad()
def _logits(
    architecture: Architecture,
    tensors: Mapping[str, Tensor],
    head: LanguageHead,
    logs: Float64[Tensor, " rows"],
    generator: torch.Generator,
) -> Float64[Tensor, "positions rows"]:
    if architecture.module is None or architecture.example is None:
        raise OptionError(
            "The network has a bias neither at its output nor in its last normalization, so unigram runs it; a graph's "
            "JSON is not enough. Give --arch a name or a file.py:factory"
        )
    args, kwargs = tree_map(lambda leaf: _value(leaf, logs, generator), architecture.example)
    module = materialize(architecture, tensors)
    found = tensors_in(run_once(module, architecture, args, kwargs, instead="library"))
    logits = next((each for each in found if each.shape[-1:] == (head.rows,)), None)
    if logits is None:
        raise ArchitectureError(f"{architecture.spec} returned nothing for each token. Type: --init library")
    return logits.double().reshape(-1, head.rows)


def _value(leaf: Any, logs: Float64[Tensor, " rows"], generator: torch.Generator) -> Any:
    """Return values for a tensor of the example: tokens for integers of two dimensions, ones for others."""
    if not isinstance(leaf, Tensor):
        return leaf
    if leaf.is_floating_point() or leaf.dim() != 2:
        return torch.ones(leaf.shape, dtype=leaf.dtype)
    drawn: Int64[Tensor, " tokens"] = logs.exp().multinomial(leaf.numel(), replacement=True, generator=generator)
    return drawn.view(leaf.shape).to(leaf.dtype)


def _constant(value: float, axis: int) -> Edit:
    values: Float[Tensor, ""] = torch.tensor(value)
    return Edit(values=values, axis=axis)
