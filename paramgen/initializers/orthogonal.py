"""Orthogonal initialization: matrices that keep every vector's length (Saxe et al., 2014, arXiv:1312.6120)."""

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.initializers import MAX_SCALE, initializers, is_scale
from paramgen.initializers.linear_maps import LinearMapInitializer, LinearMaps
from paramgen.slots.init_program import one_thread

ORTHOGONAL = "orthogonal"
AUTO = "auto"


@final
@initializers.register("orthogonal")
@dataclass(frozen=True, kw_only=True)
class Orthogonal(LinearMapInitializer):
    """Orthogonal weights (Saxe et al., 2014), scaled for the non-linearity that follows; biases zero."""

    gain: float | int | str = AUTO  # `auto`: by what follows, as `he` does; 1 is the paper's, for linear networks
    convolutions: Literal["flat", "delta"] = "flat"
    """`flat`: each filter is one row of the matrix; `delta`: orthogonal at the central tap, zero elsewhere."""

    def __post_init__(self) -> None:
        if self.gain != AUTO and not (is_scale(self.gain) and self.gain > 0):
            raise OptionError(
                f"gain is {one_line(repr(self.gain))}. Allowed: auto, or a number above 0, up to {MAX_SCALE:,}. "
                "Type: --init 'orthogonal?gain=1.0'"
            )
        if self.convolutions not in ("flat", "delta"):
            raise OptionError(f"convolutions is {self.convolutions!r}. Allowed: flat and delta")

    def rule(self, linear_map: LinearMap) -> str:
        """Return `orthogonal`."""
        return ORTHOGONAL

    def weights(
        self, linear_map: LinearMap, maps: LinearMaps, generator: torch.Generator
    ) -> Float[Tensor, "groups out in *kernel"]:
        """Return orthogonal matrices times the gain."""
        gain = linear_map.gain if isinstance(self.gain, str) else float(self.gain)
        fill = delta if self.convolutions == "delta" and linear_map.kind == "conv" else flat
        return gain * fill(linear_map, generator)


def flat(linear_map: LinearMap, generator: torch.Generator) -> Float[Tensor, "groups out in *kernel"]:
    """Return one orthogonal matrix per group, with one row per output over all inputs and taps."""
    shape = (linear_map.groups, linear_map.out, linear_map.fan, *linear_map.kernel)
    return orthogonal(linear_map.groups, linear_map.out, linear_map.fan * linear_map.taps, generator).reshape(shape)


def delta(linear_map: LinearMap, generator: torch.Generator) -> Float[Tensor, "groups out in *kernel"]:
    """Return delta-orthogonal kernels (Xiao et al., 2018, arXiv:1806.05393, algorithm 1)."""
    weights = torch.zeros(linear_map.groups, linear_map.out, linear_map.fan, linear_map.taps)
    weights[..., linear_map.central] = orthogonal(linear_map.groups, linear_map.out, linear_map.fan, generator)
    return weights.view(linear_map.groups, linear_map.out, linear_map.fan, *linear_map.kernel)


def orthogonal(batch: int, out: int, width: int, generator: torch.Generator) -> Float[Tensor, "batch out width"]:
    """Return matrices with orthonormal rows, or columns where there are fewer, uniform among all such."""
    noise = torch.randn(batch, max(out, width), min(out, width), generator=generator)
    with one_thread():
        factor, triangle = torch.linalg.qr(noise)
    # Without the signs of the diagonal, Q would follow LAPACK's conventions instead of Haar's measure.
    factor = factor * triangle.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return factor if out >= width else factor.transpose(1, 2)
