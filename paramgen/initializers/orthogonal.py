"""Orthogonal matrices, which keep every length (Saxe et al., 2014, arXiv:1312.6120)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.roles import LinearMap, biases_of, linear_maps_of
from paramgen.graphs.schema import Graph
from paramgen.initializers import LARGEST, Initializer, NamedTensors, initializers, is_scale
from paramgen.initializers.library import library_elsewhere, start_by_rules
from paramgen.slots.init_program import one_thread, slot_generator
from paramgen.slots.manifest import Slot

ORTHOGONAL = "orthogonal"
AUTO = "auto"


@final
@initializers.register("orthogonal")
@dataclass(frozen=True, kw_only=True)
class Orthogonal(Initializer):
    """Orthogonal weights (Saxe et al., 2014), scaled for the non-linearity that follows; biases zero."""

    gain: float | int | str = AUTO  # `auto`: by what follows, as `he` does; 1 is the paper's, for linear networks
    convolutions: Literal["flat", "delta"] = "flat"
    """`flat` takes a filter as one long row; `delta` is orthogonal at the central tap, zero elsewhere."""

    def __post_init__(self) -> None:
        if self.gain != AUTO and not (is_scale(self.gain) and self.gain > 0):  # type: ignore[operator]
            raise OptionError(
                f"gain is {one_line(repr(self.gain))}. Allowed: auto, or a number above 0, up to {LARGEST:,}. "
                "Type: --init 'orthogonal?gain=1.0'"
            )
        if self.convolutions not in ("flat", "delta"):
            raise OptionError(f"convolutions is {self.convolutions!r}. Allowed: flat and delta")

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """`orthogonal` for the weights of linear maps and convolutions, `zero` for their biases, else the library's."""
        parts = linear_maps_of(graph, architecture.manifest)
        return library_elsewhere(
            architecture, dict.fromkeys(parts, ORTHOGONAL), biases_of(graph, architecture.manifest, parts)
        )

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Draw one slot after the other."""
        parts = linear_maps_of(graph, architecture.manifest)

        def make(slot: Slot) -> Tensor:
            part = parts[slot.name]
            gain = part.gain if isinstance(self.gain, str) else float(self.gain)
            fill = delta if self.convolutions == "delta" and part.kind == "conv" else flat
            return part.stored(gain * fill(part, slot_generator(seed, slot.name)), slot)

        return start_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)


def flat(part: LinearMap, generator: torch.Generator) -> Float[Tensor, "groups out in *kernel"]:
    """Return one orthogonal matrix per group, of a row per output over all inputs and taps."""
    shape = (part.groups, part.out, part.fan, *part.kernel)
    return orthogonal(part.groups, part.out, part.fan * part.taps, generator).reshape(shape)


def delta(part: LinearMap, generator: torch.Generator) -> Float[Tensor, "groups out in *kernel"]:
    """Return delta-orthogonal kernels (Xiao et al., 2018, arXiv:1806.05393, algorithm 1)."""
    weights = torch.zeros(part.groups, part.out, part.fan, part.taps)
    weights[..., part.central] = orthogonal(part.groups, part.out, part.fan, generator)
    return weights.view(part.groups, part.out, part.fan, *part.kernel)


def orthogonal(batch: int, out: int, width: int, generator: torch.Generator) -> Float[Tensor, "batch out width"]:
    """Return matrices with orthonormal rows, or columns where there are fewer, uniform among all such."""
    noise = torch.randn(batch, max(out, width), min(out, width), generator=generator)
    with one_thread():
        factor, triangle = torch.linalg.qr(noise)
    # Without the signs of the diagonal, Q would follow LAPACK's conventions instead of Haar's measure.
    factor = factor * triangle.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return factor if out >= width else factor.transpose(1, 2)
