"""Convert weights to what the diffusion model is trained on: blocks of normalized values or principal components.

Without normalization decoding is bit for bit the inverse of encoding. With it, a value comes back to within a millionth
of itself and of its layer's mean, as float32 subtracts and adds. In components it is the nearest point of the space
that they span: weights2weights (Dravid et al., 2024, arXiv:2406.09413) found such a space of fine-tuned weights.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Final, final

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from jaxtyping import Float
from torch import Tensor, nn

from paramgen.diffusion.blocks import BlockLayout
from paramgen.errors import PipelineError
from paramgen.zoo.layout import ZooForm

_SMALLEST: Final = 1e-12  # a smaller std is that of a constant


@final
class WeightCodec(ModelMixin, ConfigMixin):
    """Convert tensors to blocks and back, with a layout (in config.json) and a normalization (in the weights).

    Args:
        slots: The shape of each tensor; their order is that of their names.
        width: Values in a block.
        components: Principal components that stand for the tensors; 0: the tensors' own values are cut into blocks.
        form: What the tensors are: the network's own, or low-rank updates of a base checkpoint.
        scale: What a low-rank product is multiplied by before it is added.
        shared: The shape of each tensor that all networks share; decoding returns these tensors, too.

    """

    @register_to_config
    def __init__(
        self,
        slots: Mapping[str, Sequence[int]],
        width: int,
        components: int = 0,
        *,
        form: ZooForm = "full",
        scale: float = 1.0,
        shared: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        if form not in ("full", "low_rank"):
            raise PipelineError(f"The form of the tensors is {form!r}. Allowed: full and low_rank")
        # By name, for config.json keeps no other order.
        self.tensors = BlockLayout({name: tuple(slots[name]) for name in sorted(slots)}, width)
        self.layout = self.tensors if not components else BlockLayout({"components": (components,)}, width)
        if components > self.tensors.elements:
            raise PipelineError(
                f"{components} components are more than the {self.tensors.elements} values they are of."
            )
        self.shared = {name: tuple(shape) for name, shape in (shared or {}).items()}
        if self.shared:
            BlockLayout(self.shared, width)  # within the same limits
            self.constants = nn.ParameterDict(
                {_key(name): _constant(torch.zeros(shape)) for name, shape in self.shared.items()}
            )
        self.mean = _constant(torch.zeros(len(slots)))
        self.std = _constant(torch.ones(len(slots)))
        if components:
            self.centre = _constant(torch.zeros(self.tensors.elements))
            self.directions = _constant(torch.zeros(components, self.tensors.elements))
            self.spread = _constant(torch.ones(components))

    @property
    def form(self) -> ZooForm:
        """What the tensors are."""
        return self.config["form"]

    def encode(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "blocks width"]:
        """Return the normalized blocks of tensors in float32."""
        self.tensors.check({name: tuple(tensor.shape) for name, tensor in tensors.items()})
        normal = self._normal(tensors)
        if not self.config["components"]:
            return self.layout.cut(normal)
        found = self.directions @ (self._flat(normal) - self.centre) / self.spread
        return self.layout.cut({"components": found})

    def decode(self, blocks: Float[Tensor, "blocks width"]) -> dict[str, Tensor]:
        """Return the tensors of normalized blocks, and the shared tensors."""
        normal = self.layout.join(blocks.float())
        if self.config["components"]:
            flat = self.centre + (normal["components"] * self.spread) @ self.directions
            parts = flat.split([prod(shape) for shape in self.tensors.slots.values()])
            normal = {
                name: part.view(shape) for (name, shape), part in zip(self.tensors.slots.items(), parts, strict=True)
            }
        own = {name: normal[name] * self.std[index] + self.mean[index] for index, name in enumerate(self.tensors.slots)}
        return {**own, **{name: self.constants[_key(name)].detach() for name in self.shared}}

    @torch.no_grad()
    def set_shared(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the values of the tensors that all networks share."""
        for name in self.shared:
            self.constants[_key(name)].copy_(tensors[name])

    @torch.no_grad()
    def fit(self, updates: Sequence[Mapping[str, Tensor]], *, whitening: float = 0.0) -> float:
        """Fit normalization and components to the tensors of many networks; return the share of variance kept.

        Args:
            updates: The tensors of many networks.
            whitening: 0 leaves each component its spread relative to the others, 1 gives all of them the same.

        """
        if not updates:
            raise PipelineError("There are no checkpoints to fit a normalization to; a zoo needs one or more.")
        for index, name in enumerate(self.tensors.slots):
            values = torch.stack([each[name].float() for each in updates])
            self.mean[index] = values.mean()
            std = values.std(correction=0)
            self.std[index] = std if std > _SMALLEST else 1.0
        if not self.config["components"]:
            return 1.0
        rows = torch.stack([self.normalized(each) for each in updates])
        return self._fit_components(rows, whitening)

    def _fit_components(self, rows: Float[Tensor, "batch elements"], whitening: float) -> float:
        """Fit the components by the eigenvectors of the rows' Gram matrix, which is smaller than their covariance."""
        self.centre.copy_(rows.mean(0))
        rows = (rows - self.centre).double()
        values, vectors = torch.linalg.eigh(rows @ rows.T)
        count = min(self.config["components"], len(rows))
        values, vectors = values.flip(0)[:count].clamp_min(_SMALLEST), vectors.flip(1)[:, :count]
        directions = (vectors.T @ rows) / values.sqrt()[:, None]
        stds = (values / len(rows)).sqrt()
        self.directions[:count] = directions.float()
        spread = stds**whitening
        self.spread[:count] = (spread * (stds / spread).square().mean().sqrt()).float()  # mean variance 1
        return float(values.sum() / rows.square().sum().clamp_min(_SMALLEST))

    def normalized(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, " elements"]:
        """Return all values of tensors as one vector, each in units of the std of its tensor."""
        return self._flat(self._normal(tensors))

    def _normal(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            name: (tensors[name].float() - self.mean[index]) / self.std[index]
            for index, name in enumerate(self.tensors.slots)
        }

    def _flat(self, normal: Mapping[str, Tensor]) -> Float[Tensor, " elements"]:
        return torch.cat([normal[name].reshape(-1) for name in self.tensors.slots])


def _key(name: str) -> str:
    """Return a name that a dictionary of parameters takes."""
    return name.replace(".", "/")


def _constant(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)
