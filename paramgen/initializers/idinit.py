"""Identity everywhere: main stem and residual branches alike (IDInit, Pan et al., 2025, arXiv:2503.04626)."""

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
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import Slot

IDENTITY, NEAR_ZERO = "idinit", "idinit near zero"


@final
@initializers.register("idinit")
@dataclass(frozen=True, kw_only=True)
class IdInit(Initializer):
    """Padded identities, residual branches that end near zero (IDInit, Pan et al., 2025); biases zero.

    Where the paper leaves a choice: a convolution's taps are counted from the central one, so that a square one is the
    identity and no shift; a filter per channel has its central tap; transposed convolutions are the library's.
    """

    tau: float | int = 1.0  # of the identities
    epsilon: float | int = 1e-6  # of the weights that end a residual branch
    loosen: float | int = 1e-6  # deviation of the noise on identities, without which equal rows would stay equal
    convolutions: Literal["patch", "channel"] = "patch"
    """`patch`: further outputs copy the channels at further taps; `channel`: all at the central one."""

    def __post_init__(self) -> None:
        for name in ("tau", "epsilon", "loosen"):
            value = getattr(self, name)
            if not (is_scale(value) and value >= 0):
                raise OptionError(
                    f"{name} is {one_line(repr(value))}. Allowed: a number from 0 to {LARGEST:,}. "
                    f"Type: --init 'idinit?{name}=1.0'"
                )
        if self.convolutions not in ("patch", "channel"):
            raise OptionError(f"convolutions is {self.convolutions!r}. Allowed: patch and channel")

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """`idinit`, `idinit near zero` for what ends a residual branch, `zero` for biases, the library's elsewhere."""
        parts = _parts(graph, architecture)
        covered = {name: NEAR_ZERO if part.last_of_branch else IDENTITY for name, part in parts.items()}
        return library_elsewhere(architecture, covered, biases_of(graph, architecture.manifest, parts))

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Make one slot after the other; only the loosening noise depends on the seed."""
        parts = _parts(graph, architecture)

        def make(slot: Slot) -> Tensor:
            part = parts[slot.name]
            taps = part.taps if self.convolutions == "patch" or part.last_of_branch else 1
            if part.last_of_branch:
                matrix = near_zero(part.out, part.fan * taps, float(self.epsilon))
            else:
                matrix = identity(part.out, part.fan * taps, float(self.tau))
            weights = _unfolded(matrix, part)
            if not part.last_of_branch:
                noise = torch.randn(weights.shape, generator=slot_generator(seed, slot.name))
                weights = weights + float(self.loosen) * noise
            return part.stored(weights, slot)

        return start_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)


def _parts(graph: Graph, architecture: Architecture) -> dict[str, LinearMap]:
    parts = linear_maps_of(graph, architecture.manifest)
    return {name: part for name, part in parts.items() if part.kind != "transposed_conv"}


def identity(out: int, width: int, tau: float) -> Float[Tensor, "out width"]:
    """Return the identity, begun anew below itself while there are rows (eq. 3, IDI)."""
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


def _unfolded(matrix: Float[Tensor, "out width"], part: LinearMap) -> Float[Tensor, "groups out in *kernel"]:
    """Deal the columns out to taps, all channels of the central tap first; every group has the same."""
    used = matrix.shape[1] // part.fan
    taps = torch.arange(part.taps)
    order = torch.cat((taps[part.central, None], taps[: part.central], taps[part.central + 1 :]))[:used]
    weights = torch.zeros(part.out, part.fan, part.taps)
    weights[:, :, order] = matrix.view(part.out, used, part.fan).transpose(1, 2)
    return weights.view(1, part.out, part.fan, *part.kernel).repeat(part.groups, *(1,) * (2 + len(part.kernel)))
