"""Residual parametrization: a hypernet predicts a change of the default initialization, not the weight itself."""

from typing import Final, NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

_BOUND: Final = 2.0  # the default initialization grows or shrinks at most e² times


class ResidualTerms(NamedTuple):
    """How far each slot is moved from its default initialization."""

    scale: Float[Tensor, " slots"]
    gate: Float[Tensor, " slots"]


@final
class ResidualParametrization(nn.Module):
    """weight = default * exp(scale) + gate * direction; scale and gate are zero until they are trained."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.head = nn.Linear(hidden, 2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, states: Float[Tensor, "slots hidden"]) -> ResidualTerms:
        """Return scale and gate of every slot."""
        scale, gate = self.head(states).unbind(1)
        return ResidualTerms(_BOUND * torch.tanh(scale / _BOUND), gate)


def residual_weight(default: Tensor, direction: Tensor, scale: Tensor) -> Tensor:
    """Return default * exp(scale) + direction; `direction` is overwritten where gradients are off."""
    if torch.is_grad_enabled():
        return torch.addcmul(direction, default, scale.exp())
    return direction.addcmul_(default, scale.exp())


def residual_vector(default: Tensor, direction: Tensor, gate: Tensor) -> Tensor:
    """Return default + gate * tanh(direction)."""
    return default + gate * torch.tanh(direction)
