"""Weights of one size, of which training chooses some and their signs (Koster et al., 2022, arXiv:2201.13361).

Every weight of a layer is +c or -c and stays so. A real mask M is trained; the network computes with the weight times
the sign of M where |M| is large, and with zero elsewhere. There are no biases, and no norm closes a residual branch by
a scale of zero. The paper's threshold of |M| is one for all weights; here it is that of each layer by which a share is
kept (Ramanujan et al., 2020, arXiv:1911.13299), as no other pressure leaves weights out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar, Final, final

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrize

from paramgen.comparison.tasks import Batch
from paramgen.errors import ArchitectureError
from paramgen.graphs.analysis.roles import LinearMap, biases_of, linear_maps_of
from paramgen.preparation import Objective, Preparation, Pupil, Training, check_range, preparations
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import Slot, state_of
from paramgen.slots.torch_internals import BatchNorm

_HOW: Final = "supermask"


@final
class SignedMask(nn.Module):
    """A parametrization: of the mask M it makes the weight, constants times sign(M) where |M| is above a threshold."""

    constants: Tensor

    def __init__(self, constants: Tensor, *, keep: float, threshold: float) -> None:
        super().__init__()
        self.register_buffer("constants", constants, persistent=False)
        self.left_out = min(round((1 - keep) * constants.numel()), constants.numel() - 1) if keep else 0
        self.threshold = threshold

    def forward(self, mask: Tensor) -> Tensor:
        """Return the weight; its gradient goes to M as if the mask were M itself (straight through)."""
        size = mask.detach().abs()
        threshold = size.flatten().kthvalue(self.left_out).values if self.left_out else self.threshold
        hard = mask.sign() * (size > threshold)
        return self.constants * (hard + (mask - mask.detach()))  # the difference is exactly zero


@final
@preparations.register("supermask")
@dataclass(frozen=True, kw_only=True)
class Supermask(Preparation):
    """Weights of a fixed size, kept, left out or turned by a trained mask; the rest is zero (Koster et al., 2022)."""

    training: ClassVar[Training] = Training(lr=3e-3, decay=0.01)

    keep: float | int = 0.1  # share of each layer's weights; 0: those whose |M| is above the threshold
    threshold: float | int = 0.01  # of |M|, as in the paper
    factor: float | int = 1.0  # the constants are factor * sqrt(2 / fan-in)
    spread: float | int = 0.02  # M is drawn between -spread and spread

    def __post_init__(self) -> None:
        check_range(_HOW, "keep", self.keep, 0, 1)
        check_range(_HOW, "threshold", self.threshold, 0, 1)
        check_range(_HOW, "factor", self.factor, 0.001, 1000)
        check_range(_HOW, "spread", self.spread, 0.0001, 10)

    def objective(self, pupil: Pupil) -> Objective:
        """Return the loss on the labels; the masks of linear maps are all that is trained."""
        manifest, task = pupil.model.architecture.manifest, pupil.task
        assert task is not None
        maps = linear_maps_of(pupil.model.graph, manifest)
        parameters = dict(pupil.module.named_parameters(remove_duplicate=False))
        maps = {name: each for name, each in maps.items() if name in parameters}
        if not maps:
            raise ArchitectureError(
                f"{pupil.model.name} has no linear layer or convolution whose weights can be masked. "
                f"What is seen of it, shows: paramgen graph --arch {pupil.model.name}"
            )
        pupil.module.requires_grad_(False)
        with torch.no_grad():
            for bias in biases_of(pupil.model.graph, manifest, maps):
                if bias in parameters:
                    parameters[bias].zero_()
            _open_branches(pupil.module)
        masks = {name: self._masked(pupil, manifest[name], each) for name, each in maps.items()}

        def loss(batch: Batch) -> Tensor:
            return cross_entropy(*task.answers(pupil.logits(batch[0]), batch[1]))

        def weights() -> Mapping[str, Tensor]:
            released = {name: _weight(pupil.module, name).detach() for name in masks}
            return _plain(pupil.module) | released

        def kept() -> Mapping[str, Bool[Tensor, "..."]]:
            return {name: (_weight(pupil.module, name) != 0).cpu() for name in masks}

        return Objective(
            module=pupil.module,
            loss=loss,
            batches=pupil.batches,
            weights=weights,
            masks=kept,
            note="Weights that are not kept are zero; paramgen.masked(model, FOLDER) holds them there in training.",
        )

    def _masked(self, pupil: Pupil, slot: Slot, linear_map: LinearMap) -> SignedMask:
        """Put a mask in the place of a weight, and return what makes the weight of it."""
        generator = slot_generator(pupil.seed, slot.name, stream=_HOW)
        size = self.factor * sqrt(2 / linear_map.fan_in)
        signs = 2.0 * torch.randint(2, slot.shape, generator=generator) - 1
        mask = self.spread * (2 * torch.rand(slot.shape, generator=generator) - 1)
        owner, key = _owner(pupil.module, slot.name)
        constants = (size * signs).to(pupil.device)
        made = SignedMask(constants, keep=float(self.keep), threshold=float(self.threshold))
        setattr(owner, key, nn.Parameter(mask.to(pupil.device)))
        parametrize.register_parametrization(owner, key, made, unsafe=True)
        return made


@torch.no_grad()
def _open_branches(module: nn.Module) -> None:
    """Set the scales of norms that are all zero to one: only masks are trained, so their branches would stay closed."""
    for part in module.modules():
        scale = part.weight if isinstance(part, (BatchNorm, nn.LayerNorm, nn.GroupNorm)) else None
        if scale is not None and not scale.any():
            scale.fill_(1.0)


def _owner(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, key = name.rpartition(".")
    return module.get_submodule(path), key


def _weight(module: nn.Module, name: str) -> Tensor:
    owner, key = _owner(module, name)
    found: Tensor = getattr(owner, key)
    return found


def _plain(module: nn.Module) -> dict[str, Any]:
    """Return the state of what is not masked."""
    return {name: tensor for name, tensor in state_of(module).items() if ".parametrizations." not in name}
