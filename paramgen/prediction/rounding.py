"""Weights of a prediction that are rounded to few bits, and how far they are from what was predicted."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, final

import torch
from torch import Tensor

from paramgen.errors import OptionError, one_line
from paramgen.slots.manifest import Manifest, Slot
from paramgen.storage.quantization import WHOLE_TENSOR, Quantization, is_rounded


@final
@dataclass(frozen=True, kw_only=True)
class Rounding:
    """How the tensors of one prediction are rounded; what is known of the loss is of those that were read last."""

    quantization: Quantization
    _sums: list[float] = field(default_factory=lambda: [0.0, 0.0], init=False, repr=False, compare=False)

    def begin(self) -> None:
        """Forget what was read before."""
        self._sums[:] = [0.0, 0.0]

    def of(self, slot: Slot, tensor: Tensor) -> Tensor:
        """Return the tensor of a slot, rounded if it is a matrix, a kernel or a table."""
        if not _takes_part(slot, tensor.dtype):
            return tensor
        try:
            rounded = self.quantization.rounded(tensor.cpu())
        except OptionError as error:
            raise OptionError(f"{one_line(slot.name)!r}: {error.message}") from error
        for index, each in enumerate((rounded.float() - tensor.float(), tensor.float())):
            self._sums[index] += float(each.square_().sum(dtype=torch.float64))
        return rounded

    @property
    def error(self) -> float:
        """Root mean square of the differences, as a share of that of the weights."""
        difference, whole = self._sums
        return sqrt(difference / whole) if whole else 0.0

    def remark(self) -> str:
        """Return what a user should know of it, in a sentence."""
        kind, block = self.quantization.kind, self.quantization.block
        width = self.quantization.bits + (0 if block == WHOLE_TENSOR else 32 / int(block))
        lost = f"; their root mean square error is {self.error:.2%} of their size" if self._sums[1] else ""
        return (
            f"Matrices, kernels and tables are rounded to {kind}, {width:g} bits each with a scale for each "
            f"{'tensor' if block == WHOLE_TENSOR else f'{block} weights'}{lost}. It is for sending: paramgen restore "
            "makes the ordinary folder, of these values."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the record."""
        quantization = self.quantization
        return {
            "kind": quantization.kind,
            "bits": quantization.bits,
            "block": quantization.block,
            "relative_error": float(f"{self.error:.4g}"),
        }


def rounding_of(spec: str | None) -> Rounding | None:
    """Return how `--quantize` rounds; None without it."""
    return None if spec is None else Rounding(quantization=Quantization.of(spec))


def rounded_names(manifest: Manifest, dtype_of: Callable[[Slot], torch.dtype]) -> list[str]:
    """Return the names of what a rounding changes, tied ones included."""
    found = (slot for slot in manifest.filled if _takes_part(slot, dtype_of(slot)))
    return [name for slot in found for name in manifest.names_of(slot.name)]


def _takes_part(slot: Slot, dtype: torch.dtype) -> bool:
    return slot.kind == "parameter" and is_rounded(slot.shape, dtype)


def is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite, without a copy of them."""
    if tensor.is_complex():
        return is_finite(torch.view_as_real(tensor))
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return all(bool(end.isfinite()) for end in tensor.aminmax())
