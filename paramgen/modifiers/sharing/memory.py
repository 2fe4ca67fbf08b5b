"""A memory whose entries all weights share (STABLE-RPS: Desai & Shrivastava, 2024, arXiv:2310.11611).

A weight is W = s M[h] l: M is the memory, drawn from N(0, 1), h the entry and s the sign that a hash gives the weight,
l the size of its layer's weights. What is trained is T = M u, which has the size of weights: u^2 is the sum of l^2 over
the weights of an entry, divided by how many weights an entry has on average. The gradient of T is divided by that
number, too. So a step of SGD on T changes M by the gradient of M over the sum of l^2, and sharing makes no step longer;
nor does it with Adam. Where each weight has an entry of its own, T is the weights, but for signs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from paramgen.errors import OptionError, one_line
from paramgen.modifiers.constraints import Constraint, Held, owned_parameters
from paramgen.modifiers.sharing.layout import Layout
from paramgen.slots.init_program import one_thread

CLOSE: Final = 0.01
"""Weights differ at most by this share from the shared ones: bfloat16 rounds to 0.4 %."""


@final
class _Spread(torch.autograd.Function):
    """Entries times factors, with a gradient that is divided by how many weights an entry has."""

    generate_vmap_rule = True

    @staticmethod
    def forward(entries: Tensor, index: Tensor, factors: Tensor, load: float) -> Tensor:
        """Return the weights, flat; without shapes in the signature, which torch's compiler cannot check."""
        return entries.index_select(0, index) * factors

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        entries, index, factors, load = inputs
        ctx.save_for_backward(index, factors)
        ctx.size, ctx.load = entries.shape[0], load

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        index, factors = ctx.saved_tensors
        (gradient,) = gradients
        found = gradient.new_zeros(ctx.size).index_add(0, index, gradient * factors)
        return found / ctx.load, None, None, None


@final
class FromMemory(Held):
    """A parametrization by which a weight is made of the entries of a memory."""

    replaces: ClassVar[bool] = True

    index: Tensor
    factors: Tensor
    like: Tensor

    def __init__(self, index: Tensor, factors: Tensor, weight: Tensor, load: float) -> None:
        super().__init__()
        self.register_buffer("index", index.to(weight.device), persistent=False)
        self.register_buffer("factors", factors.to(weight.device), persistent=False)
        self.register_buffer("like", weight.new_empty(0), persistent=False)  # follows the module to another dtype
        self.shape, self.load = weight.shape, load

    def forward(self, entries: Tensor) -> Tensor:
        """Return the weight in its own shape and dtype."""
        weight: Tensor = _Spread.apply(entries, self.index, self.factors, self.load)  # type: ignore[no-untyped-call]
        return weight.view(self.shape).to(self.like.dtype)


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedMemory(Constraint):
    """The memory of a network's weights.

    Args:
        layout: Which entry each weight has.
        memory: Standard normal numbers, float32.
        scales: The root mean square of each weight's values, float64, in the order of the layout.

    """

    layout: Layout
    memory: Float[Tensor, " entries"]
    scales: Float[Tensor, " slots"]

    @property
    def whole(self) -> int:
        """How many weights share the numbers."""
        return self.layout.weights

    @property
    def free(self) -> int:
        """How many numbers there are."""
        return self.layout.entries

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers, and of the size of each layer; the map follows from a seed."""
        return 4 * self.layout.entries + 8 * len(self.layout.shapes)

    def weights(self) -> dict[str, Tensor]:
        """Return the weights in float32, by slot."""
        units = self._units()
        return self._spread(self._entries(units), self._maps(units))

    @torch.no_grad()
    def hold(self, module: nn.Module) -> None:
        """Make all weights named of one parameter, the memory, which each of them has instead of its own."""
        found = owned_parameters(module, self.layout.shapes)
        units = self._units()
        values, maps = self._entries(units), self._maps(units)
        for name, weight in self._spread(values, maps).items():
            parameter = found[name].parameter
            if not parameter.requires_grad:
                raise OptionError(
                    f"{one_line(name)!r} is frozen (requires_grad is False), and what it shares would be trained. "
                    "Set requires_grad to True"
                )
            if not torch.allclose(
                weight.to(parameter), parameter, rtol=CLOSE, atol=CLOSE * float(weight.std(correction=0))
            ):
                raise OptionError(
                    f"{one_line(name)!r} does not have the values that are shared. Load the initial weights first: "
                    "paramgen.load(FOLDER), or module.load_state_dict(prediction.state_dict())"
                )
        device = next(iter(found.values())).parameter.device
        entries = nn.Parameter(values.to(device))
        for name, (index, factors) in maps.items():
            constraint = FromMemory(index, factors, found[name].parameter, self.layout.load)
            for owner, key in found[name].owners:
                parametrize.register_parametrization(owner, key, constraint, unsafe=True)
                owner.parametrizations[key].original = entries  # type: ignore[union-attr, index]

    def remark(self) -> str:
        """Return how many numbers there are to train."""
        entries, weights = self.layout.entries, self.layout.weights
        return (
            f"{weights:,} weights share {entries:,} numbers ({entries / weights:.2%}); in training, "
            "paramgen.shared(model, FOLDER) keeps it so."
        )

    def _spread(
        self, entries: Float[Tensor, " entries"], maps: Mapping[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        """Return the weights that entries make, by slot."""
        return {
            name: _Spread.forward(entries, index, factors, 1.0).view(self.layout.shapes[name])
            for name, (index, factors) in maps.items()
        }

    @one_thread()
    def _units(self) -> Float[Tensor, " entries"]:
        """Return u of each entry in float64: its square times the load is the sum of l^2 over the entry's weights."""
        squares = torch.zeros(self.layout.entries, dtype=torch.float64)
        parts = self.layout.by_slot(self.layout.index())
        for index, scale in zip(parts.values(), self.scales, strict=True):
            squares.index_add_(0, index, scale.square().expand(len(index)))
        units = (squares / self.layout.load).sqrt()
        return units.where(units > 0, 1.0)  # an entry without a weight

    def _entries(self, units: Float[Tensor, " entries"]) -> Float[Tensor, " entries"]:
        """Return what is trained."""
        return (self.memory.double() * units).float()

    def _maps(self, units: Float[Tensor, " entries"]) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the entry of each weight, and by what it is multiplied, by slot."""
        index, signs = self.layout.by_slot(self.layout.index()), self.layout.by_slot(self.layout.signs())
        return {
            name: (index[name], (signs[name] * (scale / units[index[name]])).float())
            for name, scale in zip(self.layout.shapes, self.scales, strict=True)
        }
