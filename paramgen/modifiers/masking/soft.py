"""Soft thresholds: in training, ever more weights are zero (ST-3: Vanderschueren & De Vleeschouwer, arXiv:2212.01076).

All weights go on being trained: the gradient passes the threshold as if it were not there (straight through). So
nothing has to be chosen at the start, and a weight that was zero may come back.
"""

from collections.abc import Mapping
from typing import Any, Final, final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.modifiers.constraints import Held, owned_parameters
from paramgen.slots.manifest import state_of

METHOD: Final = "st3"
EXAMPLE: Final = "Type: --sparse st3:0.95"
SMALLEST: Final = 0.01
"""By at most about 1 over this share an output's weights are multiplied, when few of them are left."""


def parse_sparse(text: str) -> float:
    """Return the share of weights that is zero at the end, of `st3:0.95`.

    Raises:
        OptionError: The text is something else, or the share is not between 0 and 1.

    """
    method, _, share = text.partition(":")
    try:
        found = float(share)
    except ValueError:
        found = 0.0
    if method != METHOD or not 0 < found < 1:
        raise OptionError(
            f"--sparse is {one_line(repr(text))}. Allowed: {METHOD} and the share of weights that is zero at the end, "
            f"above 0 and below 1. {EXAMPLE}"
        )
    return found


@final
class _SoftThreshold(torch.autograd.Function):
    """sign(w) (|w| - t)+, times a scale for each output, with the gradient of the identity."""

    @staticmethod
    def forward(weight: Tensor, threshold: Tensor, output: int) -> Tensor:
        size = weight.abs()
        kept = size > threshold
        axes = [axis for axis in range(weight.dim()) if axis != output]
        left = (size * kept).mean(axes, keepdim=True) / size.mean(axes, keepdim=True).clamp(min=1e-30)
        scale = (1 + SMALLEST) / (left + SMALLEST)
        return weight.sign() * (size - threshold).clamp(min=0) * scale

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """There is nothing to remember."""

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None, None


@final
class Softened(Held):
    """A parametrization by which weights below a threshold are zero, and the others smaller by it."""

    threshold: Tensor

    def __init__(self, weight: Tensor, output: int) -> None:
        super().__init__()
        self.register_buffer("threshold", weight.new_zeros(()), persistent=False)
        self.output = output

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight as the network uses it."""
        softened: Tensor = _SoftThreshold.apply(weight, self.threshold, self.output)  # type: ignore[no-untyped-call]
        return softened


@final
class SoftThresholds:
    """Holds one threshold of all weights named, which rises in training until the share `target` of them is zero.

    Args:
        module: In training; its parameters are constrained in place.
        outputs: The axis of the outputs of each weight, by slot.
        target: The share of weights that is zero at the end.

    Raises:
        OptionError: A weight is not there, or parameters of the module are constrained already.

    """

    def __init__(self, module: nn.Module, outputs: Mapping[str, int], target: float) -> None:
        state = state_of(module)
        owned = owned_parameters(module, {name: tuple(state[name].shape) for name in outputs})
        self._target = target
        self._held: list[tuple[nn.Parameter, Softened]] = []
        for name, each in owned.items():
            constraint = Softened(each.parameter, outputs[name])
            for owner, key in each.owners:
                parametrize.register_parametrization(owner, key, constraint)
            self._held.append((each.parameter, constraint))

    @torch.no_grad()
    def at(self, progress: float) -> None:
        """Set the threshold for a share of the training that is done, from 0 to 1: the zeros rise by a cubic law."""
        sizes = torch.cat([weight.detach().abs().flatten() for weight, _ in self._held])
        zeros = round(self._target * (1 - (1 - progress) ** 3) * len(sizes))
        threshold = sizes.kthvalue(zeros).values if zeros else sizes.new_zeros(())
        for _, constraint in self._held:
            constraint.threshold.copy_(threshold)


def output_axes(maps: Mapping[str, LinearMap]) -> dict[str, int]:
    """Return the axis of the outputs of each weight, as it is stored."""
    return {name: 1 if each.in_out or each.kind == "transposed_conv" else 0 for name, each in maps.items()}
