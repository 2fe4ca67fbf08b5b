"""A few bits for each weight: the nearest of a few levels, times the largest of its block (Dettmers, 2023).

The paper is arXiv:2212.09720, by Dettmers and Zettlemoyer; NormalFloat is of QLoRA (Dettmers et al., 2023,
arXiv:2305.14314). This is done here and not by a library because what was sent must be read by any later version:
torchao packs 4 bits for its own kernels and moves its classes, bitsandbytes is 124 MB of CUDA, and neither has 3 or 5
bits. Codes and scales are those of bitsandbytes, which a test compares.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Final, Literal, final

import numpy as np
import torch
from torch import Tensor

from paramgen.errors import OptionError, UnknownNameError, one_line
from paramgen.registry.overrides import split_spec

WHOLE_TENSOR: Final = "tensor"
"""A block that is the whole tensor."""

QUANTIZATION_KINDS: Final = ("nf4", "fp4", "int4", "int8", "nf3", "nf5", "int3", "int5")
SMALLEST_BLOCK: Final = 8
LARGEST_BLOCK: Final = 1 << 16
SCALE_DTYPE: Final = torch.float32  # of the largest weight of each block
_PIECE: Final = 1 << 20  # weights at a time: whole blocks, and whole bytes of any number of bits
_TAIL: Final = 0.9677083  # of the normal distribution: where QLoRA's outermost quantile lies
_E2M1: Final = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # what four bits with two of an exponent can say


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A tensor in few bits: its codes, packed, and the largest absolute value of each block."""

    codes: Tensor
    scales: Tensor


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """Which levels there are, and how many weights, one after the other in memory, share a scale.

    Args:
        kind: `nf` are quantiles of the normal distribution, `int` even steps, `fp4` floats of two bits of exponent;
            behind it stands the number of bits.
        block: A power of two, or `tensor`.

    """

    kind: str = "nf4"
    block: int | Literal["tensor"] = 64

    def __post_init__(self) -> None:
        if self.kind not in QUANTIZATION_KINDS:
            raise OptionError(
                f"Unknown --quantize {one_line(repr(self.kind))}. Allowed: {', '.join(QUANTIZATION_KINDS)}. "
                "Type: --quantize nf4"
            )
        if self.block != WHOLE_TENSOR and not (
            type(self.block) is int and SMALLEST_BLOCK <= self.block <= LARGEST_BLOCK and self.block.bit_count() == 1
        ):
            raise OptionError(
                f"block is {one_line(repr(self.block))}. Allowed: a power of two from {SMALLEST_BLOCK} to "
                f"{LARGEST_BLOCK}, or {WHOLE_TENSOR}. Type: --quantize '{self.kind}?block=64'"
            )

    @classmethod
    def of(cls, spec: str) -> "Quantization":
        """Return what `nf4` or `nf4?block=64` names."""
        if not isinstance(spec, str):
            raise OptionError(f"--quantize is {one_line(repr(spec))}. Allowed: a text. Type: --quantize nf4")
        kind, options = split_spec(spec)
        for option in options:
            if option != "block":
                raise UnknownNameError.of(f"option of --quantize {kind}", option, ["block"])
        return cls(kind=kind, **options)

    def __str__(self) -> str:
        return f"{self.kind}?block={self.block}"

    @property
    def bits(self) -> int:
        """Of the code of a weight."""
        return int(self.kind.lstrip("abcdefghijklmnopqrstuvwxyz"))

    def sizes(self, elements: int) -> tuple[int, int]:
        """Return how many bytes the codes of so many weights take, and how many scales there are."""
        return -(-elements * self.bits // 8), -(-elements // self._block(elements))

    def encode(self, tensor: Tensor) -> Encoded:
        """Return the nearest levels.

        Raises:
            OptionError: A value is not finite.

        """
        flat = tensor.detach().reshape(-1)
        block = self._block(len(flat))
        largest = [_largest(piece.float(), block) for piece in flat.split(max(_PIECE, block))]
        scales = torch.cat(largest) if largest else torch.empty(0)
        if not bool(scales.isfinite().all()):
            raise OptionError("Weights that are not finite have no nearest level. Leave --quantize out")
        levels = _levels(self.kind)
        codes = np.empty(self.sizes(len(flat))[0], dtype=np.uint8)
        for begin, piece in _pieces(flat):
            share = piece.float() / self._spread(torch.where(scales == 0, 1.0, scales), begin, len(piece), block)
            packed = _packed(_nearest(share, levels).numpy(), self.bits)
            codes[begin * self.bits // 8 :][: len(packed)] = packed
        return Encoded(codes=torch.from_numpy(codes), scales=scales)

    def decode(self, encoded: Encoded, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return the weights that codes and scales of the right number stand for.

        Raises:
            ValueError: A code stands for nothing, or a scale is none.

        """
        scales, levels = encoded.scales, _levels(self.kind)
        if not bool((scales.isfinite() & (scales >= 0)).all()):
            raise ValueError("a scale is negative or not finite")
        whole = torch.empty(shape, dtype=dtype)
        flat, codes = whole.view(-1), encoded.codes.numpy()
        for begin, piece in _pieces(flat):
            first = begin * self.bits // 8
            found = _unpacked(codes[first : first + -(-len(piece) * self.bits // 8)], len(piece), self.bits)
            index = torch.from_numpy(found).long()
            if int(index.max()) >= len(levels):
                raise ValueError("a code stands for no level")
            piece.copy_(levels[index] * self._spread(scales, begin, len(piece), self._block(len(flat))))
        return whole

    def rounded(self, tensor: Tensor) -> Tensor:
        """Return the tensor that `decode` makes of what `encode` returned."""
        return self.decode(self.encode(tensor), tuple(tensor.shape), tensor.dtype)

    def _block(self, elements: int) -> int:
        return max(1, elements) if self.block == WHOLE_TENSOR else int(self.block)

    @staticmethod
    def _spread(scales: Tensor, begin: int, count: int, block: int) -> Tensor:
        """Return the scale of each of `count` weights."""
        if len(scales) == 1:
            return scales
        return scales[begin // block : -(-(begin + count) // block)].repeat_interleave(block)[:count]


def is_rounded(shape: tuple[int, ...], dtype: torch.dtype) -> bool:
    """Whether a parameter is quantized: matrices, kernels and tables are; biases and norms are few, and stay."""
    return dtype.is_floating_point and len(shape) >= 2


def _pieces(flat: Tensor) -> Iterator[tuple[int, Tensor]]:
    for begin in range(0, len(flat), _PIECE):
        yield begin, flat[begin : begin + _PIECE]


def _largest(flat: Tensor, block: int) -> Tensor:
    """Return the largest absolute value of each block, the last of which may be shorter."""
    whole = len(flat) // block * block
    found = flat[:whole].view(-1, block).abs().amax(1) if whole else torch.empty(0)
    return found if whole == len(flat) else torch.cat([found, flat[whole:].abs().max()[None]])


def _nearest(values: Tensor, levels: Tensor) -> Tensor:
    """Return the index of the level next to each value from -1 to 1."""
    if len(levels) > 1 << 5:  # these are even
        most = len(levels) // 2
        return (values * most).round_().add_(most).to(torch.uint8)
    found = torch.zeros(values.shape, dtype=torch.uint8)
    for middle in ((levels[1:] + levels[:-1]) / 2).tolist():
        found += values > middle  # many times as fast as torch.bucketize
    return found


@cache
def _levels(kind: str) -> Tensor:
    """Return the levels of a kind, ascending, the largest of which is 1."""
    bits = int(kind[-1])
    if kind.startswith("int"):
        most = 2 ** (bits - 1) - 1
        return torch.arange(-most, most + 1, dtype=torch.float64).div(most).float()
    if kind.startswith("fp"):
        found = [level / _E2M1[-1] for level in _E2M1]
        return torch.tensor([*(-level for level in reversed(found[1:])), *found])
    return torch.tensor(_normal_levels(2 ** (bits - 1)))


def _normal_levels(half: int) -> list[float]:
    """Return quantiles at even distances, those of QLoRA to six digits: `half` above zero, zero, one fewer below it."""

    def quantiles(count: int) -> list[float]:
        step = (_TAIL - 0.5) / count
        return [NormalDist().inv_cdf(_TAIL - step * index) for index in range(count)]

    above, below = quantiles(half), quantiles(half - 1)
    return sorted([*(-each / below[0] for each in below), 0.0, *(each / above[0] for each in above)])


def _packed(codes: np.ndarray, bits: int) -> np.ndarray:
    """Return codes one after the other, each from its highest bit on, and the last byte filled up with zeros."""
    if bits == 8:
        return codes
    if bits == 4:
        even = np.append(codes, np.uint8(0)) if len(codes) % 2 else codes
        return even[::2] << 4 | even[1::2]
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint8)
    return np.packbits((codes[:, None] >> shifts) & 1)


def _unpacked(packed: np.ndarray, count: int, bits: int) -> np.ndarray:
    """Return the codes that `_packed` packed."""
    if bits == 8:
        return packed
    ones = np.unpackbits(packed, count=count * bits).reshape(count, bits)
    found = np.zeros(count, dtype=np.uint8)
    for column in range(bits):
        np.add(np.left_shift(found, 1, out=found), ones[:, column], out=found)
    return found
