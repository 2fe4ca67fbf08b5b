"""IDInit: identity matrices in the main stem and in residual branches alike (Pan et al., 2025, arXiv:2503.04626)."""

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.errors import OptionError
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.initializers import check_number, initializers
from paramgen.initializers.linear_maps import LinearMapInitializer, LinearMaps

IDENTITY, NEAR_ZERO = "idinit", "idinit near zero"


@final
@initializers.register("idinit")
@dataclass(frozen=True, kw_only=True)
class IdInit(LinearMapInitializer):
    """Padded identities, residual branches that end near zero (IDInit, Pan et al., 2025); biases zero.

    Where the paper leaves a choice: a convolution's taps are counted from the central one, so that a square one is the
    identity and no shift; a filter per channel has its central tap; transposed convolutions keep the library's values.
    """

    tau: float | int = 1.0  # of the identities
    epsilon: float | int = 1e-6  # of the weights that end a residual branch
    loosen: float | int = 1e-6  # std of the noise on identities, without which equal rows would stay equal
    convolutions: Literal["patch", "channel"] = "patch"
    """`patch`: further outputs copy the channels at further taps; `channel`: all at the central one."""

    def __post_init__(self) -> None:
        for name in ("tau", "epsilon", "loosen"):
            check_number("idinit", name, getattr(self, name), example=1.0)
        if self.convolutions not in ("patch", "channel"):
            raise OptionError(f"convolutions is {self.convolutions!r}. Allowed: patch and channel")

    def rule(self, linear_map: LinearMap) -> str | None:
        """Return `idinit`, `idinit near zero` at the end of a residual branch, nothing for transposed convolutions."""
        if linear_map.kind == "transposed_conv":
            return None
        return NEAR_ZERO if linear_map.last_of_branch else IDENTITY

    def weights(
        self, linear_map: LinearMap, maps: LinearMaps, generator: torch.Generator
    ) -> Float[Tensor, "groups out in *kernel"]:
        """Return padded identities, or near zeros at the end of a residual branch; only small noise is random."""
        taps = linear_map.taps if self.convolutions == "patch" or linear_map.last_of_branch else 1
        if linear_map.last_of_branch:
            return _unfolded(near_zero(linear_map.out, linear_map.fan * taps, float(self.epsilon)), linear_map)
        weights = _unfolded(identity(linear_map.out, linear_map.fan * taps, float(self.tau)), linear_map)
        noise = torch.randn(weights.shape, generator=generator)
        return weights + float(self.loosen) * noise


def identity(out: int, width: int, tau: float) -> Float[Tensor, "out width"]:
    """Return the identity, repeated downwards while there are rows (eq. 3, IDI)."""
    matrix = torch.zeros(out, width)
    rows = torch.arange(out)
    matrix[rows, rows % width] = tau
    return matrix


def near_zero(out: int, width: int, epsilon: float) -> Float[Tensor, "out width"]:
    """Return small pairs of opposite signs, whose sum over equal inputs is zero (eq. 8, IDIZ)."""
    matrix = identity(out, width, epsilon)
    if width == 1:
        matrix[1::2] *= -1
    elif out < width:
        matrix[:, out:] = identity(out, width - out, -epsilon)
    else:
        rows = torch.arange(out)
        matrix[rows, (rows + 1) % width] = -epsilon
    return matrix


def _unfolded(matrix: Float[Tensor, "out width"], linear_map: LinearMap) -> Float[Tensor, "groups out in *kernel"]:
    """Distribute the columns over the kernel's taps, all channels of the central tap first; all groups are equal."""
    used = matrix.shape[1] // linear_map.fan
    taps = torch.arange(linear_map.taps)
    order = torch.cat((taps[linear_map.central, None], taps[: linear_map.central], taps[linear_map.central + 1 :]))[
        :used
    ]
    weights = torch.zeros(linear_map.out, linear_map.fan, linear_map.taps)
    weights[:, :, order] = matrix.view(linear_map.out, used, linear_map.fan).transpose(1, 2)
    return weights.view(1, linear_map.out, linear_map.fan, *linear_map.kernel).repeat(
        linear_map.groups, *(1,) * (2 + len(linear_map.kernel))
    )
