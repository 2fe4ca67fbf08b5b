"""A prediction as a departure from the library's own start: rescale it, and add a predicted direction."""

from typing import Final, NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

_BOUND: Final = 2.0  # a start grows or shrinks at most e² times


class Step(NamedTuple):
    """How far to go, per slot."""

    scale: Float[Tensor, " slots"]
    gate: Float[Tensor, " slots"]


@final
class Departure(nn.Module):
    """weight = start * exp(scale) + gate * direction; scale and gate are zero until they are trained."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.head = nn.Linear(hidden, 2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, states: Float[Tensor, "slots hidden"]) -> Step:
        """Return scale and gate of every slot."""
        scale, gate = self.head(states).unbind(1)
        return Step(_BOUND * torch.tanh(scale / _BOUND), gate)


def moved_weight(start: Tensor, direction: Tensor, scale: Tensor) -> Tensor:
    """Return start * exp(scale) + direction; `direction` is used up where gradients are off."""
    if torch.is_grad_enabled():
        return torch.addcmul(direction, start, scale.exp())
    return direction.addcmul_(start, scale.exp())


def moved_vector(start: Tensor, direction: Tensor, gate: Tensor) -> Tensor:
    """Return start + gate * tanh(direction)."""
    return start + gate * torch.tanh(direction)
