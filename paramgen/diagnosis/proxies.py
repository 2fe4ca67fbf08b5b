"""Proxies of neural architecture search: scores of an untrained network (Abdelfattah et al., 2021, arXiv:2101.08134).

snip (Lee et al., 2019), grasp (Wang et al., 2020), synflow (Tanaka et al., 2020), fisher (Turner et al., 2020) and the
gradient norm, as that paper's code has them: summed over the weights of linear maps. They rank networks and initial
weights against each other, and none of them is right or wrong by itself.
"""

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.func import functional_call

from paramgen.architectures.materialize import plain_attention
from paramgen.diagnosis import Measure, Observation, Threshold, measures
from paramgen.diagnosis.signal import finite
from paramgen.diagnosis.trial import Trial, scores_in
from paramgen.slots.torch_internals import tree_map


@final
@measures.register("proxies")
class Proxies(Measure):
    """Scores of architecture search for untrained networks: grad_norm, snip, grasp, synflow and fisher."""

    __slots__ = ()

    labels: ClassVar[Mapping[str, str]] = {
        "grad_norm": "grad norm",
        "snip": "snip",
        "grasp": "grasp",
        "synflow": "synflow",
        "fisher": "fisher",
    }
    thresholds: ClassVar[Mapping[str, Threshold]] = {}

    def observe(self, trial: Trial) -> Observation:
        """Compute each from one or two passes over the examples."""
        recorded, weights = trial.recorded, trial.weights
        gradients = recorded.gradients
        snip = sum(float((weights[name].detach() * each).abs().sum()) for name, each in gradients.items())
        return Observation(
            figures={
                "grad_norm": finite(sum(float(each.norm()) for each in gradients.values())),
                "snip": finite(snip),
                "grasp": finite(grasp(trial)),
                "synflow": finite(synflow(trial)),
                "fisher": finite(sum(each.fisher for each in recorded.layers)),
            }
        )


def grasp(trial: Trial) -> float:
    """Return the sum of -w * (H g), with H the Hessian of the loss and g its gradient."""
    weights = list(trial.weights.values())
    loss = trial.loss(trial.scores())
    if not weights or not loss.requires_grad:
        return 0.0
    gradients = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
    product = sum((each * each.detach()).sum() for each in gradients if each is not None)
    if not isinstance(product, Tensor) or not product.requires_grad:  # the loss is linear in every weight
        return 0.0
    curved = torch.autograd.grad(product, weights, allow_unused=True)
    return sum(
        float(-(each * weight.detach()).sum()) for each, weight in zip(curved, weights, strict=True) if each is not None
    )


def synflow(trial: Trial) -> float:
    """Return the sum of |w * g|, with every weight at its absolute value and g the gradient of the summed output.

    The input is ones, in float64; of tokens, the first example. Batch normalization keeps what it holds.
    """
    module, one = trial.module, trial.sample.part(0, 1)
    args, kwargs = tree_map(_ones, (one.args, dict(one.kwargs)))
    tensors = {
        name: each.detach().abs().double() if each.is_floating_point() else each.detach()
        for name, each in (*module.named_parameters(), *module.named_buffers())
    }
    names = {name for weight in trial.weights.values() for name, each in module.named_parameters() if each is weight}
    wanted = [tensors[name].requires_grad_() for name in sorted(names)]
    with plain_attention(), trial.as_held():
        try:
            outcome = functional_call(module, tensors, args, kwargs)
        except RuntimeError:  # a network that converts to float32 by itself
            return float("nan")
    total = scores_in(outcome, trial.architecture.spec).sum()
    if not wanted or not total.requires_grad:
        return 0.0
    found = torch.autograd.grad(total, wanted, allow_unused=True)
    return sum(
        float((each * weight.detach()).abs().sum())
        for each, weight in zip(found, wanted, strict=True)
        if each is not None
    )


def _ones(leaf: object) -> object:
    if isinstance(leaf, Tensor) and leaf.is_floating_point():
        return torch.ones_like(leaf, dtype=torch.float64)
    return leaf
