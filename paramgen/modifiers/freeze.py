"""Freezing: a few weights are trained, and all others keep their random values (Wimmer et al., 2020, arXiv:2011.14087).

What is not trained follows from the seed, so a trained network is small to keep: the seed, the mask, a few values.
"""

from dataclasses import dataclass
from typing import ClassVar, Final, Literal, final

import torch

from paramgen.graphs.analysis.roles import LinearMap
from paramgen.modifiers import FROZEN, SHARED_NUMBERS, ZEROS, Constrained, NetworkModifier, modifiers
from paramgen.modifiers.masking.criteria import CRITERIA, RUNNING, SUPERVISED, Examples, WholeNetwork
from paramgen.modifiers.masking.holding import Masking
from paramgen.modifiers.masking.masks import best_masks
from paramgen.modifiers.masking.options import check_choice, check_count, check_data, check_share

FREEZE: Final = "freeze"
FREEZING: Final = ("gradient", "random", "magnitude")


@final
@modifiers.register(FREEZE)
@dataclass(frozen=True, kw_only=True)
class Freeze(NetworkModifier):
    """No value changes, but only some weights are to be trained, freeze?keep=0.01&data=FOLDER (Wimmer et al., 2020).

    Those with the largest gradient are, in linear layers and convolutions. In training, `paramgen.masked` lets the
    others keep their initial values; biases, norms and tables are trained as usual.
    """

    structure: ClassVar[str] = FROZEN

    keep: float | int = 0.01  # the share of these weights that is trained
    by: Literal["gradient", "random", "magnitude"] = "gradient"
    data: str = ""  # a folder of class folders of images, which the gradient needs
    batch: int = 256  # images

    def __post_init__(self) -> None:
        check_share(FREEZE, "keep", self.keep)
        check_choice(FREEZE, "by", self.by, FREEZING)
        check_count(FREEZE, "batch", self.batch, most=65_536)
        check_data(self.by, self.data, supervised=self.by in SUPERVISED, example=f"{FREEZE}?data=FOLDER")

    @property
    def runs_network(self) -> bool:  # type: ignore[override]  # an option decides
        """Whether the gradient decides."""
        return self.by in RUNNING

    def changes(self, linear_map: LinearMap) -> bool:
        """Every weight of a linear map may be frozen."""
        return True

    @torch.no_grad()
    def change_together(self, network: WholeNetwork) -> Constrained:
        """Return the same tensors, and which entries are trained."""
        scores = CRITERIA[self.by](network, Examples(data=self.data, batch=self.batch), float(self.keep))
        masks = best_masks(scores, float(self.keep))
        return Constrained(tensors=network.tensors, constraint=Masking(kind="frozen", masks=masks))

    def undoes(self, structure: str) -> bool:
        """It changes no value; but each weight has one constraint."""
        return structure in (ZEROS, FROZEN, SHARED_NUMBERS)
