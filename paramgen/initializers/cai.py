"""Convolution aware: filters orthogonal in the frequency domain (Aghajanyan, 2017, arXiv:1702.06295)."""

from dataclasses import dataclass
from math import ceil, prod
from typing import ClassVar, Final, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError
from paramgen.graphs.analysis.roles import LinearMap, linear_maps_of
from paramgen.graphs.schema import Graph
from paramgen.initializers import check_number, initializers
from paramgen.initializers.linear_maps import LinearMapInitializer, LinearMaps
from paramgen.initializers.orthogonal import ORTHOGONAL, flat
from paramgen.slots.init_program import one_thread

CAI: Final = "cai"
MAX_BASIS_TAPS: Final = 400
"""A kernel of more taps has no orthogonal basis made for it: the basis has as many entries as their square."""


@final
@initializers.register(CAI)
@dataclass(frozen=True, kw_only=True)
class ConvolutionAware(LinearMapInitializer):
    """Convolutions whose filters are orthogonal in the frequency domain (Aghajanyan, 2017); linear layers orthogonal.

    Real spectra, as in the paper, are those of even filters: without noise they span about half of the dimensions.
    """

    applies_to: ClassVar[str] = "convolutions; linear layers beside them are orthogonal"

    noise: float | int = 0.05  # std of what is added before scaling, which breaks the symmetry
    spectrum: Literal["real", "hermitian"] = "real"
    """`real` is the paper's; `hermitian` gives every frequency a random phase, so that filters are not even."""

    def __post_init__(self) -> None:
        check_number(CAI, "noise", self.noise, example=0.05)
        if self.spectrum not in ("real", "hermitian"):
            raise OptionError(f"spectrum is {self.spectrum!r}. Allowed: real and hermitian")

    def hindrance(self, architecture: Architecture, graph: Graph) -> str | None:
        """Return that there is no convolution, where there is none."""
        maps = linear_maps_of(graph, architecture.manifest).values()
        if any(linear_map.kernel for linear_map in maps):
            return None
        return "it has no convolution. Type: --init orthogonal"

    def rule(self, linear_map: LinearMap) -> str:
        """Return `cai` for convolutions, `orthogonal` for linear layers and for kernels that are too large."""
        return CAI if linear_map.kernel and linear_map.taps <= MAX_BASIS_TAPS else ORTHOGONAL

    def weights(
        self, linear_map: LinearMap, maps: LinearMaps, generator: torch.Generator
    ) -> Float[Tensor, "groups out in *kernel"]:
        """Return filters of variance gain^2 / fan-in in all, each made of orthogonal spectra."""
        if self.rule(linear_map) == ORTHOGONAL:
            return linear_map.gain * flat(linear_map, generator)
        filters = self._filters(linear_map, generator)
        if self.noise:
            filters += float(self.noise) * torch.randn(filters.shape, generator=generator)
        with one_thread():
            root = float(filters.double().square().mean().sqrt())
        weights = filters * (linear_map.gain / linear_map.fan_in**0.5 / root) if root > 0 else filters
        return weights.view(linear_map.groups, linear_map.out, linear_map.fan, *linear_map.kernel)

    def _filters(self, linear_map: LinearMap, generator: torch.Generator) -> Float[Tensor, "filters in *kernel"]:
        """Return the filters, one after the other, so that little is in memory."""
        filters = linear_map.groups * linear_map.out
        made = torch.empty(filters, linear_map.fan, *linear_map.kernel)
        for index in range(filters):
            made[index] = self._filter(linear_map.fan, linear_map.kernel, generator)
        return made

    def _filter(self, fan: int, kernel: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "in *kernel"]:
        """Return one filter for each input: rows of orthogonal bases, as spectra, transformed back."""
        spectrum = (*kernel[:-1], kernel[-1] // 2 + 1)
        size = prod(spectrum)
        if size == 1:  # one tap has one frequency: only the noise, or without it a random number
            return torch.zeros(fan, *kernel) if self.noise else torch.randn(fan, *kernel, generator=generator)
        noise = torch.randn(ceil(fan / size), size, size, generator=generator)
        symmetric = noise + noise.transpose(1, 2) - torch.diag_embed(noise.diagonal(dim1=1, dim2=2))
        signs = torch.randint(2, (len(noise), 1, size), generator=generator) * 2 - 1
        with one_thread():
            bases = torch.linalg.svd(symmetric).U
            # A singular vector's sign is LAPACK's convention: the largest entry is made positive, then a coin decides.
            largest = bases.gather(1, bases.abs().argmax(1, keepdim=True)).sign()
            rows = (bases * largest * signs).reshape(-1, *spectrum)[:fan]
            axes = tuple(range(1, len(kernel) + 1))
            if self.spectrum == "real":
                return torch.fft.irfftn(rows, s=kernel, dim=axes)
            phases = torch.fft.rfftn(torch.randn(fan, *kernel, generator=generator), dim=axes)
            turned = rows * phases / phases.abs().clamp_min(1e-12)
            return torch.fft.irfftn(turned, s=kernel, dim=axes)
