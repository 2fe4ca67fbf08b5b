"""Constraints in training: weights outside a mask stay zero, or keep their initial values."""

from collections.abc import Mapping
from typing import final

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn.utils import parametrize

from paramgen.errors import OptionError, one_line
from paramgen.modifiers import MaskKind


@final
class Zeroed(nn.Module):
    """A parametrization by which a weight is zero outside a mask."""

    mask: Tensor

    def __init__(self, mask: Bool[Tensor, "*shape"]) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with zeros outside the mask, which get no gradient."""
        return weight * self.mask


@final
class Frozen(nn.Module):
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


def hold(module: nn.Module, kind: MaskKind, masks: Mapping[str, Bool[Tensor, "..."]]) -> None:
    """Constrain the parameters named, also under their other names, by parametrizations of torch.

    Raises:
        OptionError: A parameter is not there, has another shape, or is constrained already; nothing is changed then.

    """
    refuse_held(module)
    held = dict(module.named_parameters(remove_duplicate=False))
    owners: dict[int, list[tuple[nn.Module, str]]] = {}
    for path, child in module.named_modules():
        for key, parameter in child.named_parameters(path, recurse=False, remove_duplicate=False):
            owners.setdefault(id(parameter), []).append((child, key.rpartition(".")[2]))
    for name, mask in masks.items():
        if name not in held:
            raise OptionError(f"{one_line(name)!r} is no parameter of this module. Give one of its architecture")
        if held[name].shape != mask.shape:
            raise OptionError(
                f"{one_line(name)!r} has the shape {tuple(held[name].shape)}, its mask {tuple(mask.shape)}. Give a "
                "module of the folder's architecture"
            )
    for name, mask in masks.items():
        parameter = held[name]
        mask = mask.to(parameter.device)
        constraint = Zeroed(mask) if kind == "pruned" else Frozen(mask, parameter)
        for owner, key in owners[id(parameter)]:
            parametrize.register_parametrization(owner, key, constraint)


def refuse_held(module: nn.Module) -> None:
    """Raise OptionError where parameters are constrained by masks."""
    if any(isinstance(child, (Zeroed, Frozen)) for child in module.modules()):
        raise OptionError("The module is constrained by masks already. Call paramgen.unmasked(module) first")


def release(module: nn.Module) -> None:
    """Make parameters that `hold` constrained ordinary ones again, with the values that they have now."""
    for child in list(module.modules()):
        constraints = getattr(child, "parametrizations", {})
        for key in [key for key, each in constraints.items() if isinstance(each[0], (Zeroed, Frozen))]:
            parametrize.remove_parametrizations(child, key, leave_parametrized=True)
