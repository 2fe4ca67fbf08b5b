"""Pictures as small networks, stored as a latent vector of a few kilobytes: what a field is, and its limits.

D'OH (Gordon et al., 2024, arXiv:2403.19163): every weight of the network is a fixed random projection of one latent
vector. The projections follow from a seed and are not stored; the latent vector and the biases are trained.
"""

from dataclasses import dataclass, fields
from math import pi, sqrt
from typing import Final, final

import torch
from jaxtyping import Float, Int8, Int64
from torch import Tensor

from paramgen.errors import OptionError, one_line

OMEGA: Final = 30.0  # by which what a sine reads is multiplied (SIREN; Sitzmann et al., 2020, arXiv:2006.09661)
LAST: Final = 0.3  # std of the last layer's weights, times the root of its inputs
PER_ENTRY: Final = 4  # weights for each entry of the latent vector, where no width is typed
MAX_FIELD_SIDE: Final = 8192  # of a picture, in pixels
_RANGES: Final = {
    "latent": (16, 1_000_000),
    "width": (2, 256),
    "layers": (1, 12),
    "frequencies": (0, 12),
    "seed": (0, 2**63 - 1),
    "height": (1, MAX_FIELD_SIDE),
    "breadth": (1, MAX_FIELD_SIDE),
    "channels": (1, 3),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Everything that decides a field but its values: the network, the latent vector's length, the picture's size.

    Raises:
        OptionError: A number is none, or beyond its limits.
    """

    latent: int
    width: int  # of each hidden layer
    layers: int  # hidden ones
    frequencies: int  # sines and cosines of each coordinate, each twice as fast as the one before
    seed: int
    height: int  # of the picture, in pixels
    breadth: int
    channels: int  # 1: grey, 3: red, green and blue

    def __post_init__(self) -> None:
        for each in fields(self):
            value, (least, most) = getattr(self, each.name), _RANGES[each.name]
            if type(value) is not int or not least <= value <= most:
                raise OptionError(
                    f"The {each.name} of a field is {one_line(repr(value))}. Allowed: {least:,} to {most:,}. "
                    + (f"Type: --{each.name} {least}" if each.name in _TYPED else "Get the file again.")
                )
        if self.channels == 2:
            raise OptionError("The channels of a field are 2. Allowed: 1 and 3. Get the file again.")

    @classmethod
    def of(cls, *, latent: int, width: int | None, **others: int) -> "Design":
        """Return a design; without a width, that with about four weights for each entry of the latent vector."""
        least, most = _RANGES["width"]
        if width is None:
            sizes = (cls(latent=latent, width=each, **others) for each in range(least, most + 1))
            width = next((each.width for each in sizes if each.weights >= PER_ENTRY * latent), most)
        return cls(latent=latent, width=width, **others)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The shape of each layer's weight: outputs and inputs."""
        sizes = [2 + 4 * self.frequencies, *[self.width] * self.layers, self.channels]
        return tuple(zip(sizes[1:], sizes, strict=False))

    @property
    def weights(self) -> int:
        """How many weights the network has, all of which the latent vector makes."""
        return sum(rows * columns for rows, columns in self.shapes)

    @property
    def biases(self) -> int:
        """How many biases it has."""
        return sum(rows for rows, _ in self.shapes)

    @property
    def stds(self) -> tuple[float, ...]:
        """The standard deviation of each layer's weights at the start: SIREN's, but larger in the last layer.

        There a projection of SIREN's size would let the colours move too slowly.
        """
        first, *others, last = (columns for _, columns in self.shapes)
        return (1 / (sqrt(3) * first), *(sqrt(2 / columns) / OMEGA for columns in others), LAST / sqrt(last))

    def inputs(self, places: Int64[Tensor, " pixels"], size: tuple[int, int]) -> Float[Tensor, "pixels inputs"]:
        """Return what the network reads at pixels, counted row by row, of a picture of some height and width."""
        height, breadth = size
        down = (places // breadth + 0.5) / height * 2 - 1
        across = (places % breadth + 0.5) / breadth * 2 - 1
        where = torch.stack((down, across), 1)
        turned = [2**power * pi * where for power in range(self.frequencies)]
        return torch.cat([where, *(wave for angle in turned for wave in (angle.sin(), angle.cos()))], 1)


_TYPED: Final = ("latent", "width", "layers", "seed")


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """A picture as a network: its design, and the two vectors of whole numbers that make its weights and biases."""

    design: Design
    latent: Int8[Tensor, " latent"]
    biases: Int8[Tensor, " biases"]
    latent_scale: float  # what 1 of the latent vector stands for
    bias_scale: float


def network(
    inputs: Float[Tensor, "pixels inputs"], weights: list[Tensor], biases: list[Tensor]
) -> Float[Tensor, "pixels channels"]:
    """Return the colours, 0 to 1, at each pixel: layers with a sine behind each but the last, and grey is 0 there."""
    states = inputs
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        states = (OMEGA * torch.nn.functional.linear(states, weight, bias)).sin()
    return torch.nn.functional.linear(states, weights[-1], biases[-1]) + 0.5
