"""Constraints: what holds of weights while a network is trained, by parametrizations of torch, and the way back."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn
from torch.nn.utils import parametrize

from paramgen.errors import OptionError, one_line

Shapes = Mapping[str, tuple[int, ...]]
"""Of weights, by slot."""


class Constraint(ABC):
    """What holds of some weights of a network in training, such as zeros that stay zero."""

    __slots__ = ()

    @abstractmethod
    def hold(self, module: nn.Module) -> None:
        """Constrain a module that has the initial weights, in place.

        Raises:
            OptionError: It is of another architecture, or constrained already; nothing is changed then.

        """

    @property
    @abstractmethod
    def whole(self) -> int:
        """How many weights there are that it is about."""

    @property
    @abstractmethod
    def free(self) -> int:
        """How many numbers are trained in their place."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """How many bytes they take once trained, in float32, beside what a seed draws again."""

    @abstractmethod
    def remark(self) -> str:
        """Return what a user should know of it, in sentences."""

    def fault(self) -> str:
        """Return why a network under this constraint cannot learn, and what to do, in one line; empty if it can."""
        return ""


class Held(nn.Module):
    """A parametrization of torch by which a constraint is held, and which `release` ends."""

    replaces: ClassVar[bool] = False  # whether what is trained is another parameter than the weight's own


@final
@dataclass(frozen=True, slots=True, eq=False)
class OwnedParameter:
    """A parameter, and the modules that hold it, each with the name that it has there."""

    parameter: nn.Parameter
    owners: list[tuple[nn.Module, str]]


def owned_parameters(module: nn.Module, shapes: Shapes) -> dict[str, OwnedParameter]:
    """Return the parameters named, with all modules that hold them.

    Raises:
        OptionError: One is not there or has another shape, or parameters of the module are constrained already.

    """
    refuse_held(module)
    held = dict(module.named_parameters(remove_duplicate=False))
    for name, parameter in held.items():
        if hasattr(parameter, "device_mesh"):  # torch's DTensor, whose package is slow to import
            raise OptionError(
                f"{one_line(name)!r} is sharded over several processes already. Constrain the module first, and call "
                "fully_shard behind it"
            )
    for name, shape in shapes.items():
        if name not in held:
            raise OptionError(f"{one_line(name)!r} is no parameter of this module. Give one of its architecture")
        if tuple(held[name].shape) != shape:
            raise OptionError(
                f"{one_line(name)!r} has the shape {tuple(held[name].shape)}, its constraint {shape}. Give a module "
                "of the folder's architecture"
            )
    owners: dict[int, list[tuple[nn.Module, str]]] = {}
    for path, child in module.named_modules():
        for key, parameter in child.named_parameters(path, recurse=False, remove_duplicate=False):
            owners.setdefault(id(parameter), []).append((child, key.rpartition(".")[2]))
    return {name: OwnedParameter(held[name], owners[id(held[name])]) for name in shapes}


def refuse_held(module: nn.Module) -> None:
    """Raise OptionError where parameters are constrained."""
    if any(isinstance(child, Held) for child in module.modules()):
        raise OptionError("The module is constrained already. Call paramgen.unmasked(module) first")


def release(module: nn.Module) -> None:
    """Make all parameters that are constrained ordinary ones again, with the values that they have now."""
    freed: dict[int, nn.Parameter] = {}  # by parametrization, which tied weights have in common
    for child in list(module.modules()):
        for key, each in list(getattr(child, "parametrizations", {}).items()):
            constraint = each[0]
            if not isinstance(constraint, Held):
                continue
            if constraint.replaces:
                each.original = freed.setdefault(id(constraint), nn.Parameter(getattr(child, key).detach().clone()))
            parametrize.remove_parametrizations(child, key, leave_parametrized=not constraint.replaces)
