"""Saliency: scores of single weights before training, by which weights are pruned and networks are ranked.

Synaptic flow is of Tanaka et al. (2020, arXiv:2006.05467, equation 1), the product of the Hessian and the gradient that
of GraSP (Wang et al., 2020, arXiv:2002.07376, equation 8).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from paramgen.architectures.materialize import plain_attention
from paramgen.errors import ArchitectureError
from paramgen.graphs.tracing.recording import tensors_in
from paramgen.slots.torch_internals import tree_map

Weights = Mapping[str, Tensor]


def scores_in(outcome: Any, spec: str) -> Tensor:
    """Return the scores in what a forward pass returned: the logits, or else the first tensor of numbers.

    Raises:
        ArchitectureError: There is none.
    """
    logits = outcome.get("logits") if isinstance(outcome, Mapping) else getattr(outcome, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    found = next((each for each in tensors_in(outcome) if each.is_floating_point() and each.dim()), None)
    if found is None:
        raise ArchitectureError(
            f"{spec} returns {type(outcome).__name__} without a tensor of numbers. Give --arch a network that does"
        )
    return found


def synaptic_flow(
    module: nn.Module, weights: Weights, args: Any, kwargs: Mapping[str, Any], *, spec: str
) -> dict[str, Tensor]:
    """Return |w * dR/dw| of each weight, R the sum of the outputs, with all values of the network at their magnitude.

    Args:
        module: The network, in evaluation mode.
        weights: Parameters of it, by their names in it.
        args: One example, of which numbers become ones, in float64.
        kwargs: The same by name.
        spec: The network's name, for errors.

    Raises:
        RuntimeError: The network converts numbers to float32 by itself.
    """
    args, kwargs = tree_map(_ones, (args, dict(kwargs)))
    tensors = {
        name: each.detach().abs().double() if each.is_floating_point() else each.detach()
        for name, each in (*module.named_parameters(), *module.named_buffers())
    }
    wanted = {name: tensors[name].requires_grad_() for name in weights}
    with torch.enable_grad(), plain_attention():
        total = scores_in(functional_call(module, tensors, args, dict(kwargs)), spec).sum()
        return {name: (each * wanted[name]).detach().abs() for name, each in gradients(total, wanted).items()}


@torch.enable_grad()
def gradients(total: Tensor, weights: Weights, *, again: bool = False) -> dict[str, Tensor]:
    """Return the gradient of each weight, zeros where it plays no part; `again`: they can be differentiated again."""
    if not weights or not total.requires_grad:
        return {name: torch.zeros_like(weight) for name, weight in weights.items()}
    found = torch.autograd.grad(total, list(weights.values()), create_graph=again, allow_unused=True)
    return {
        name: torch.zeros_like(weight) if each is None else each
        for (name, weight), each in zip(weights.items(), found, strict=True)
    }


@torch.enable_grad()
def hessian_gradient(loss: Tensor, weights: Weights) -> dict[str, Tensor]:
    """Return H g for each weight: the Hessian of the loss times its gradient."""
    first = gradients(loss, weights, again=True)
    return gradients(sum(((each * each.detach()).sum() for each in first.values()), torch.zeros(())), weights)


def _ones(leaf: object) -> object:
    if isinstance(leaf, Tensor) and leaf.is_floating_point():
        return torch.ones_like(leaf, dtype=torch.float64)
    return leaf
