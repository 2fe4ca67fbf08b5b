"""What tells how much each weight of an untrained network matters: the criteria of `prune` and `freeze`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from paramgen.architectures import Architecture, Inputs
from paramgen.architectures.materialize import materialize, plain_attention, run_once
from paramgen.errors import OptionError
from paramgen.graphs.analysis.example_values import example_values
from paramgen.graphs.analysis.roles import LinearMap
from paramgen.graphs.analysis.saliency import gradients, hessian_gradient, scores_in, synaptic_flow
from paramgen.graphs.schema import Graph
from paramgen.images.batch import labelled_images
from paramgen.modifiers.masking.masks import Masks, Scores, best_masks
from paramgen.slots.init_program import one_thread, slot_generator
from paramgen.slots.manifest import state_of
from paramgen.slots.torch_internals import BatchNorm

TEMPERATURE: Final = 200.0  # by which GraSP divides the logits (Wang et al., 2020)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class WholeNetwork:
    """All weights that an initializer made for a network, and which of them may be chosen from.

    Args:
        architecture: The network, all of whose slots are in `tensors`.
        graph: Its graph.
        tensors: By slot, without the tied ones.
        maps: The linear maps among them that are not all zero.
        seed: Of the prediction.

    """

    architecture: Architecture
    graph: Graph
    tensors: Mapping[str, Tensor]
    maps: Mapping[str, LinearMap]
    seed: int

    def generator(self, slot: str, *, stream: str) -> torch.Generator:
        """Return the source of random numbers of one slot."""
        return slot_generator(self.seed, slot, stream=stream)

    @cached_property
    def module(self) -> nn.Module:
        """The network with these weights, copied, on the CPU in float32."""
        module = materialize(self.architecture, {name: each.clone() for name, each in self.tensors.items()}).float()
        for parameter in module.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        return module

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The weights that may be chosen from, as the module holds them, by slot."""
        state = state_of(self.module)
        return {name: state[name] for name in self.maps}

    def run(self, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """Return what the network makes of inputs, batch normalization using the batch, as in the first step."""
        norms = [child for child in self.module.modules() if isinstance(child, BatchNorm)]
        for norm in norms:
            norm.train()
        try:
            with plain_attention():
                return run_once(self.module, self.architecture, args, kwargs, instead=None)
        finally:
            for norm in norms:
                norm.eval()

    def noise(self, examples: int) -> Inputs:
        """Return noise for the example input: Gaussian, or uniform token ids."""
        return example_values(self.architecture, self.graph, examples=examples, seed=self.seed)


@final
@dataclass(frozen=True, kw_only=True)
class Examples:
    """What a criterion is computed on.

    Args:
        data: A folder of class folders of images, or a tar of it; empty: none was named.
        batch: Number of images.
        steps: Rounds of pruning, for a criterion that prunes in rounds.

    """

    data: str = ""
    batch: int = 256
    steps: int = 100

    def images(self, network: WholeNetwork) -> tuple[Tensor, Tensor]:
        """Return images as the network takes them, and their classes as numbers.

        Raises:
            OptionError: The network takes no images, or there are none.
        """
        spec = network.architecture.spec
        example = network.architecture.example
        image = None if example is None or len(example[0]) != 1 or example[1] else example[0][0]
        if not isinstance(image, Tensor) or image.dim() != 4:
            raise OptionError(f"{spec} does not take one batch of images. Type: --then prune:synflow, which needs none")
        return labelled_images(Path(self.data), (self.batch, *image.shape[1:]))

    @torch.enable_grad()
    def loss(self, network: WholeNetwork, *, temperature: float = 1.0) -> Tensor:
        """Return the cross-entropy of the images' classes.

        Raises:
            OptionError: The network has fewer outputs than there are classes.
        """
        spec = network.architecture.spec
        images, labels = self.images(network)
        logits = scores_in(network.run((images,), {}), spec).float()
        if logits.dim() != 2 or logits.shape[1] <= int(labels.max()):
            raise OptionError(
                f"{spec} answers with {tuple(logits.shape[1:])} numbers an image, and {self.data} has "
                f"{int(labels.max()) + 1} classes. Type: --set num_classes={int(labels.max()) + 1}"
            )
        return nn.functional.cross_entropy(logits / temperature, labels)


def random_scores(network: WholeNetwork, examples: Examples, keep: float) -> Scores:
    """Return uniform numbers."""
    return {
        name: torch.rand(network.tensors[name].shape, generator=network.generator(name, stream="prune"))
        for name in network.maps
    }


def magnitude(network: WholeNetwork, examples: Examples, keep: float) -> Scores:
    """Return |w|."""
    return {name: network.tensors[name].float().abs() for name in network.maps}


def gradient(network: WholeNetwork, examples: Examples, keep: float) -> Scores:
    """Return |dL/dw| (Wimmer et al., 2020, arXiv:2011.14087)."""
    with one_thread():
        return {name: each.abs() for name, each in gradients(examples.loss(network), network.weights).items()}


def snip(network: WholeNetwork, examples: Examples, keep: float) -> Scores:
    """Return |w * dL/dw| (Lee et al., 2019, arXiv:1810.02340, equation 6)."""
    with one_thread():
        found = gradients(examples.loss(network), network.weights)
    return {name: (each * network.weights[name].detach()).abs() for name, each in found.items()}


def grasp(network: WholeNetwork, examples: Examples, keep: float) -> Scores:
    """Return w * (H g): what is kept, the gradient flows through (Wang et al., 2020, arXiv:2002.07376, equation 8)."""
    with one_thread():
        found = hessian_gradient(examples.loss(network, temperature=TEMPERATURE), network.weights)
    return {name: each * network.weights[name].detach() for name, each in found.items()}


def synflow(network: WholeNetwork, examples: Examples, keep: float) -> Scores:
    """Return the synaptic flow of what is left after rounds of pruning by it; what was pruned has the score -1.

    After round k of n the share keep^(k/n) is left (Tanaka et al., 2020, arXiv:2006.05467, algorithm 1).
    """
    args, kwargs = network.noise(1)
    masks: Masks = {name: torch.ones(network.tensors[name].shape, dtype=torch.bool) for name in network.maps}
    weights = network.weights
    for round_ in range(1, examples.steps + 1):
        with torch.no_grad():
            for name, weight in weights.items():
                weight.mul_(masks[name])
        with one_thread():
            flow = synaptic_flow(network.module, weights, args, kwargs, spec=network.architecture.spec)
        scores = {name: each.masked_fill(~masks[name], -1.0) for name, each in flow.items()}
        if round_ < examples.steps:
            masks = best_masks(scores, keep ** (round_ / examples.steps))
    return scores


Criterion = Callable[[WholeNetwork, Examples, float], Scores]

CRITERIA: Final[Mapping[str, Criterion]] = {
    "random": random_scores,
    "magnitude": magnitude,
    "snip": snip,
    "grasp": grasp,
    "synflow": synflow,
    "gradient": gradient,
}
SUPERVISED: Final = frozenset({"snip", "grasp", "gradient"})  # they need labels
RUNNING: Final = SUPERVISED | {"synflow"}  # they run the network
