"""Masks in training: weights outside a mask stay zero, or keep their initial values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn.utils import parametrize

from paramgen.modifiers.constraints import Constraint, Held, owned_parameters

MaskKind = Literal["pruned", "frozen"]
"""What becomes of the weights outside a mask: they are zero and stay so, or they keep their initial values."""


@final
class Zeroed(Held):
    """A parametrization by which a weight is zero outside a mask."""

    mask: Tensor

    def __init__(self, mask: Bool[Tensor, "*shape"]) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with zeros outside the mask, which get no gradient."""
        return weight * self.mask


@final
class Frozen(Held):
    """A parametrization by which a weight keeps its initial values outside a mask, whatever an optimizer does."""

    mask: Tensor
    initial: Tensor

    def __init__(self, mask: Bool[Tensor, "*shape"], initial: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("initial", initial.detach().clone(), persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight within the mask and the initial values outside it, which get no gradient."""
        return torch.where(self.mask, weight, self.initial)


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Masking(Constraint):
    """Which entries of weights are kept, or trained, by slot, and what becomes of the others."""

    kind: MaskKind
    masks: Mapping[str, Bool[Tensor, "..."]]

    @property
    def kept(self) -> int:
        """How many weights are kept, or trained."""
        return sum(int(mask.sum()) for mask in self.masks.values())

    @property
    def free(self) -> int:
        """How many weights are trained."""
        return self.kept

    @property
    def nbytes(self) -> int:
        """Bytes of the weights that are trained, and a bit for each weight that says which."""
        return 4 * self.kept + sum(-(-mask.numel() // 8) for mask in self.masks.values())

    @property
    def whole(self) -> int:
        """How many weights there are."""
        return sum(mask.numel() for mask in self.masks.values())

    def hold(self, module: nn.Module) -> None:
        """Constrain the parameters named, also under their other names."""
        shapes = {name: tuple(mask.shape) for name, mask in self.masks.items()}
        for name, owned in owned_parameters(module, shapes).items():
            mask = self.masks[name].to(owned.parameter.device)
            constraint = Zeroed(mask) if self.kind == "pruned" else Frozen(mask, owned.parameter)
            for owner, key in owned.owners:
                parametrize.register_parametrization(owner, key, constraint)

    def remark(self) -> str:
        """Return how many weights are kept, and which layers have lost all of theirs."""
        what, others = ("kept", "zero") if self.kind == "pruned" else ("to be trained", "as they are")
        said = f"{self.kept:,} of {self.whole:,} weights ({self.kept / self.whole:.2%}) are {what}; in training, "
        said += f"paramgen.masked(model, FOLDER) leaves the others {others}."
        return f"{said} {self.fault()}" if self.fault() else said

    def fault(self) -> str:
        """Return which layer has lost all its weights: nothing goes through it any more."""
        lost = [name for name, mask in self.masks.items() if self.kind == "pruned" and not bool(mask.any())]
        if not lost:
            return ""
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        return (
            f"No weight of {lost[0]!r}{more} is kept, so nothing goes through: keep more, or choose by layer, --then "
            "'prune?scope=erk'."
        )
