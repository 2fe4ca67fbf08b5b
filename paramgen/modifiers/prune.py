"""Pruning before training: a few weights are kept, and all others are zero (Lee et al., 2019, arXiv:1810.02340).

Which are kept, a criterion decides: `random`, `magnitude`, `snip`, `grasp` (Wang et al., 2020, arXiv:2002.07376),
`synflow` (Tanaka et al., 2020, arXiv:2006.05467).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, final

import torch
from torch import Tensor

from paramgen.architectures import Inputs
from paramgen.architectures.materialize import materialize, run_once
from paramgen.errors import OptionError, one_line
from paramgen.graphs.analysis.output_variances import OutputVariances, no_fused_layers
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.modifiers import ZEROS, Constrained, NetworkModifier, modifiers
from paramgen.modifiers.masking.criteria import CRITERIA, RUNNING, SUPERVISED, Examples, WholeNetwork
from paramgen.modifiers.masking.holding import Masking
from paramgen.modifiers.masking.masks import SCOPES, Masks, Scope, best_masks, sampled_scores
from paramgen.modifiers.masking.options import check_choice, check_count, check_data, check_share

PRUNE: Final = "prune"
PRUNING: Final = ("random", "magnitude", "snip", "grasp", "synflow")
RESCALES: Final = ("measured", "meanfield", "none")
MAX_STEPS: Final = 1000
EXAMPLES: Final = 32  # on which the variance of outputs is measured


@final
@modifiers.register(PRUNE)
@dataclass(frozen=True, kw_only=True)
class Prune(NetworkModifier):
    """Only some weights are kept, and the others are zero, prune:synflow?keep=0.05 (Lee et al., 2019).

    Weights of linear layers and convolutions are counted together; what is all zero before stays as it is. In training,
    `paramgen.masked` keeps the zeros. With `rescale=measured` the output of each layer has the variance that it had
    before, on the images of `data` or on noise; with `meanfield` its weights have the same norm (Hayou et al., 2021,
    arXiv:2002.08797).
    """

    structure: ClassVar[str] = ZEROS

    criterion: Literal["random", "magnitude", "snip", "grasp", "synflow"] = "magnitude"
    keep: float | int = 0.1  # the share of these weights that is kept
    data: str = ""  # a folder of class folders of images, which snip and grasp need
    scope: Scope = "global"  # the best of all, the same share of every layer, or more of small layers
    mask: Literal["topk", "sampled"] = "topk"  # the highest scores, or a sample in proportion to them
    rescale: Literal["measured", "meanfield", "none"] = "measured"
    steps: int = 100  # rounds of synflow
    batch: int = 256  # images

    def __post_init__(self) -> None:
        check_choice(PRUNE, "criterion", self.criterion, PRUNING)
        check_share(PRUNE, "keep", self.keep)
        check_choice(PRUNE, "scope", self.scope, SCOPES)
        check_choice(PRUNE, "mask", self.mask, ("topk", "sampled"))
        check_choice(PRUNE, "rescale", self.rescale, RESCALES)
        check_count(PRUNE, "steps", self.steps, most=MAX_STEPS)
        check_count(PRUNE, "batch", self.batch, most=65_536)
        example = f"{PRUNE}:{self.criterion}?data=FOLDER"
        check_data(self.criterion, self.data, supervised=self.criterion in SUPERVISED, example=example)
        if self.mask == "sampled" and self.criterion == "grasp":
            raise OptionError("grasp has scores below zero, of which none can be sampled. Type: --then prune:grasp")

    @property
    def runs_network(self) -> bool:  # type: ignore[override]  # an option decides
        """Whether the criterion or the rescaling runs the network."""
        return self.criterion in RUNNING or self.rescale == "measured"

    def changes(self, linear_map: LinearMap) -> bool:
        """Every weight of a linear map may lose entries."""
        return True

    @torch.no_grad()
    def change_together(self, network: WholeNetwork) -> Constrained:
        """Return the network with zeros in place of what is not kept."""
        masks = self._masks(network)
        tensors = dict(network.tensors)
        for name, mask in masks.items():
            tensors[name] = tensors[name] * mask
        if self.rescale == "meanfield":
            for name in masks:
                tensors[name] = _of_norm(tensors[name], network.tensors[name])
        elif self.rescale == "measured":
            inputs = ((self._examples.images(network)[0],), {}) if self.data else network.noise(EXAMPLES)
            _match_variances(network, tensors, inputs)
        return Constrained(tensors=tensors, constraint=Masking(kind="pruned", masks=masks))

    def undoes(self, structure: str) -> bool:
        """Zeros at other places undo every structure, other zeros too."""
        return True

    @property
    def _examples(self) -> Examples:
        return Examples(data=self.data, batch=self.batch, steps=self.steps)

    def _masks(self, network: WholeNetwork) -> Masks:
        scores = CRITERIA[self.criterion](network, self._examples, float(self.keep))
        if not any(bool(each.any()) for each in scores.values()):
            raise OptionError(
                f"By {self.criterion}, no weight matters: the network answers alike whatever they are. Type another "
                "criterion: --then prune:magnitude"
            )
        for name, each in scores.items():
            if not bool(each.isfinite().all()):
                raise OptionError(
                    f"{self.criterion} has scores of {one_line(name)!r} that are not finite. Type another criterion: "
                    "--then prune:magnitude"
                )
        if self.mask == "sampled":
            scores = {
                name: sampled_scores({name: each.double()}, network.generator(name, stream="sampled"))[name]
                for name, each in scores.items()
            }
        return best_masks(scores, float(self.keep), scope=self.scope)


def _of_norm(tensor: Tensor, before: Tensor) -> Tensor:
    """Return a tensor with the norm that it had before; one without any entry stays zero."""
    norm = torch.linalg.vector_norm(tensor.double())
    factor = torch.linalg.vector_norm(before.double()) / norm if float(norm) > 0 else norm
    return (tensor.double() * factor).to(tensor.dtype)


def _match_variances(network: WholeNetwork, tensors: dict[str, Tensor], inputs: Inputs) -> None:
    """Scale weights in place, one layer after the other: each returns the variance that it did before pruning."""
    dense = {name: each.clone() for name, each in network.tensors.items()}
    targets = _run(network, dense, OutputVariances({name: dense[name] for name in network.maps}), inputs)
    changed = {name: tensors[name] for name in network.maps}
    _run(network, tensors, OutputVariances(changed, targets), inputs)


def _run(
    network: WholeNetwork, tensors: Mapping[str, Tensor], variances: OutputVariances, inputs: Any
) -> Mapping[str, float]:
    """Run the network once and return the variances that were found."""
    module = materialize(network.architecture, tensors)
    with no_fused_layers(), variances:
        run_once(module, network.architecture, *inputs, instead=None)
    return variances.found
