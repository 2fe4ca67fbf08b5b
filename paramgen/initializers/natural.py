"""Filters as smooth as trained ones, drawn from a closed-form covariance (Trockman et al., 2023, arXiv:2210.03651).

That covariances widen with depth, have a centre and a surround, and fit all sizes of kernels is the paper's. The
formula of `covariance` and the default widths are a reading of it that was not compared with the authors' code: where
their exact numbers matter, give your own widths.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.roles import LinearMap, linear_maps_of
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, initializers, is_scale
from paramgen.initializers.library import complete_rules
from paramgen.initializers.linear_maps import fill_linear_maps, linear_map_rules
from paramgen.slots.init_program import one_thread

NATURAL: Final = "natural"
MAX_TAPS: Final = 1024
"""Kernels of more taps keep the library's values: a covariance has as many entries as their square."""


@final
@initializers.register(NATURAL)
@dataclass(frozen=True, kw_only=True)
class Natural(Initializer):
    """Depthwise filters drawn from a covariance that widens with depth (Trockman et al., 2023); biases zero.

    Neighbouring taps have similar values, which fade towards the border, less a part that all share. In the layer at
    depth d, from 0 to 1, the width is sigma + growth d + curvature d^2 / 2, times the kernel's size. The squared norm
    of a filter is gain^2, divided by the number of inputs, on average.
    """

    group: ClassVar[str] = "formulas"
    applies_to: ClassVar[str] = "depthwise convolutions; with convolutions=all, all of more than one tap"

    sigma: float | int = 0.15
    growth: float | int = 0.25
    curvature: float | int = 1.0
    convolutions: Literal["depthwise", "all"] = "depthwise"

    def __post_init__(self) -> None:
        for name, least in (("sigma", 0.01), ("growth", 0.0), ("curvature", 0.0)):
            value = getattr(self, name)
            if not is_scale(value) or not least <= value <= 10:
                raise OptionError(
                    f"{name} is {one_line(repr(value))}. Allowed: a number from {least:g} to 10. "
                    f"Type: --init 'natural?{name}=0.5'"
                )
        if self.convolutions not in ("depthwise", "all"):
            raise OptionError(f"convolutions is {self.convolutions!r}. Allowed: depthwise and all")

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return that there are no filters of the kind, where there are none."""
        if self._depths(architecture, graph):
            return None
        if self.convolutions == "all":
            return f"it has no convolution of more than one tap, up to {MAX_TAPS:,}. Type: --init he"
        return "it has no depthwise convolution of more than one tap. Type: --init 'natural?convolutions=all'"

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `natural` for the filters, `zero` for their biases, the library's rule elsewhere."""
        depths = self._depths(architecture, graph)
        if not depths:
            return complete_rules(architecture, {})
        return linear_map_rules(architecture, graph, lambda each: NATURAL if each.slot in depths else None)

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Compute one slot after the other."""
        depths = self._depths(architecture, graph)

        def weights(linear_map: LinearMap, generator: torch.Generator) -> Float[Tensor, "groups out in *kernel"]:
            depth = depths[linear_map.slot]
            width = float(self.sigma) + float(self.growth) * depth + float(self.curvature) * depth**2 / 2
            root = root_of_covariance(linear_map.kernel, width)
            shape = (linear_map.groups, linear_map.out, linear_map.fan, *linear_map.kernel)
            noise = torch.randn(
                linear_map.groups * linear_map.out * linear_map.fan, linear_map.taps, generator=generator
            )
            with one_thread():
                return (noise @ root).view(shape) * (linear_map.gain / linear_map.fan**0.5)

        return fill_linear_maps(architecture, graph, self.rules(architecture, graph), weights, seed=seed)

    def _depths(self, architecture: Architecture, graph: Graph) -> dict[str, float]:
        """Return the depth of each convolution that is filled, from 0 to 1 in forward order."""
        names = [
            name
            for name, each in linear_maps_of(graph, architecture.manifest).items()
            if 1 < each.taps <= MAX_TAPS
            and (each.kind == "depthwise" or (self.convolutions == "all" and each.kind == "conv"))
        ]
        return {name: index / max(1, len(names) - 1) for index, name in enumerate(names)}


@lru_cache(maxsize=256)
def root_of_covariance(kernel: tuple[int, ...], width: float) -> Float[Tensor, "taps taps"]:
    """Return the root of the filters' covariance, of trace 1."""
    values, vectors = torch.linalg.eigh(covariance(kernel, width))
    return ((vectors * values.clamp_min(0.0).sqrt()) @ vectors.T).float()


@one_thread()
def covariance(kernel: tuple[int, ...], width: float) -> Float[Tensor, "taps taps"]:
    """Return D (C - S / 2) D of trace 1, without its negative part, for a kernel of any number of dimensions.

    C is a Gaussian of the distance of two taps, S that of the distance of either from the centre, D its value there.
    """
    axes = [torch.arange(size, dtype=torch.float64) - (size - 1) / 2 for size in kernel]
    taps = torch.stack([each.flatten() for each in torch.meshgrid(*axes, indexing="ij")], 1)
    scale = 2 * (width * sum(kernel) / len(kernel)) ** 2
    near = torch.exp(-(taps[:, None] - taps).square().sum(-1) / scale)
    centre = torch.exp(-taps.square().sum(-1) / scale)
    static = (centre[:, None] + centre) / 2
    matrix = centre[:, None] * (near - static / 2) * centre
    values, vectors = torch.linalg.eigh(matrix)
    positive = (vectors * values.clamp_min(0.0)) @ vectors.T
    return positive / positive.diagonal().sum()
