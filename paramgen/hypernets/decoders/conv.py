"""Convolutional decoder: node states to kernels of one largest size (GHN-3, Knyazev et al., 2023, arXiv:2303.04143)."""

from dataclasses import dataclass
from typing import cast, final

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from paramgen.hypernets.checks import within
from paramgen.hypernets.decoders import Decoder
from paramgen.hypernets.grouping import Key


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class ConvConfig:
    """Sizes of a `Conv` decoder."""

    max_out: int
    max_in: int
    kernel: int  # side of the largest kernel
    classes: int  # outputs of the last layer
    corner: bool = False  # kernels are cut from the corner of the image (GHN-2), not from its centre

    def __post_init__(self) -> None:
        within("decoder.max_out", self.max_out, 1, 4096)
        within("decoder.max_in", self.max_in, 1, 4096)
        within("decoder.kernel", self.kernel, 1, 64)
        within("decoder.classes", self.classes, 1, 1 << 18)

    def build(self, hidden: int) -> "Conv":
        """Return the decoder for states of `hidden` columns."""
        return Conv(self, hidden)


@final
class Conv(Decoder):
    """A state becomes an image, whose centre, pixel by pixel, becomes the kernel; vectors have their own network."""

    def __init__(self, config: ConvConfig, hidden: int) -> None:
        super().__init__()
        self.config = config
        self.limits = (config.max_out, config.max_in)
        longest = max(self.limits)
        self.image = nn.Linear(hidden, 4 * hidden * config.kernel**2)
        self.pixel = nn.Sequential(
            nn.Linear(4 * hidden, 8 * hidden), nn.ReLU(), nn.Linear(8 * hidden, config.max_out * config.max_in)
        )
        self.class_weight = nn.Linear(config.max_out, config.classes)
        self.vector = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, 2 * longest))
        self.class_vector = nn.Linear(longest, config.classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize the layers to give kernels of unit variance for normalised states (He et al., 2015)."""
        last = (self.pixel[2], self.vector[2])
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if layer in last else "relu")
                nn.init.zeros_(layer.bias)

    def weights(self, states: Float[Tensor, "slots hidden"], key: Key) -> Float[Tensor, "slots out in kh kw"]:
        """Return kernels cropped to the key; sides beyond the largest kernel are left to the caller."""
        image = functional.relu(self._image(states, key))  # (slots, kh, kw, 4 hidden)
        out = self.config.max_out if key.classes else min(key.out, self.config.max_out)
        weight, bias = self._last(out, key.inputs)
        pixels = functional.linear(self.pixel[1](self.pixel[0](image)), weight, bias)
        kernels = pixels.view(*pixels.shape[:3], out, -1)[..., : key.inputs].permute(0, 3, 4, 1, 2)
        if not key.classes:
            return kernels
        classes = self.class_weight(functional.relu(kernels).transpose(1, 4))  # (slots, kw, in, kh, classes)
        return classes.transpose(1, 4)

    def vectors(self, states: Float[Tensor, "slots hidden"], key: Key) -> Float[Tensor, "slots 2 width"]:
        """Return the pair of vectors; their length is the decoder's, not the key's."""
        pairs = self.vector(states).view(len(states), 2, -1)
        return self.class_vector(functional.relu(pairs)) if key.classes else pairs

    def _last(self, out: int, inputs: int) -> tuple[Float[Tensor, "rows hidden"], Float[Tensor, " rows"]]:
        """Return the last layer for the first `out` outputs and at least `inputs` inputs.

        Its rows are ordered (out, in): fewer outputs are a view, fewer inputs a copy, made where it saves half.
        """
        last = cast(nn.Linear, self.pixel[2])
        longest = self.config.max_in
        weight, bias = last.weight[: out * longest], last.bias[: out * longest]
        if 2 * inputs > longest:
            return weight, bias
        return (
            weight.view(out, longest, -1)[:, :inputs].flatten(0, 1),
            bias.view(out, longest)[:, :inputs].flatten(),
        )

    def _image(self, states: Float[Tensor, "slots hidden"], key: Key) -> Float[Tensor, "slots kh kw width"]:
        """Return the centre of the image; pixels outside are not computed."""
        side = self.config.kernel
        cut = _corner if self.config.corner else _centre
        rows, columns = cut(side, key.kh), cut(side, key.kw)
        weight = self.image.weight.view(-1, side, side, states.shape[1])[:, rows, columns]  # (4 hidden, kh, kw, hidden)
        bias = self.image.bias.view(-1, side, side)[:, rows, columns]
        weight, bias = weight.permute(1, 2, 0, 3), bias.permute(1, 2, 0)
        flat = functional.linear(states, weight.flatten(0, 2), bias.flatten())
        return flat.view(-1, *bias.shape)


def _corner(side: int, size: int) -> slice:
    """Return where a kernel of `size` lies in an image of `side`, as in GHN-2."""
    return slice(0, min(side, size))


def _centre(side: int, size: int) -> slice:
    """Return where a kernel of `size` lies in an image of `side`."""
    return slice(max(0, side // 2 - size // 2), side // 2 + (size + 1) // 2)
