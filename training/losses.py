"""The gradient of a prediction: of its loss without training, and of its loss after a few training steps.

The lookahead is first-order (FOMAML, Finn et al., 2017, arXiv:1703.03400, §5.2; Reptile, Nichol et al., 2018,
arXiv:1803.02999): the gradients of later steps are applied to the prediction itself, as if it only shifted the path.
Task loss alone gives accuracy at step 0, but sharp minima that train badly; later gradients favour trainability.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from paramgen.slots.torch_internals import BatchNorm, add_to_all
from training.config import Objective

Batch = tuple[Tensor, Tensor]


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """The gradient with respect to the predicted tensors, and the losses on the way."""

    gradient: dict[str, Tensor]
    losses: tuple[float, ...]  # before each inner step, and after the last
    accuracy: float  # at step 0

    @property
    def finite(self) -> bool:
        """Whether losses and gradients are all finite."""
        total = torch.stack([value.sum() for value in self.gradient.values()]).sum()
        return bool(torch.isfinite(total)) and all(abs(loss) < float("inf") for loss in self.losses)


def use_batch_statistics(network: nn.Module) -> nn.Module:
    """Switch to evaluation mode except for batch norms, which use batch statistics, as no running ones exist."""
    network.eval()
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.train()
    return network


def descend(
    network: nn.Module, state: Mapping[str, Tensor], weights: Mapping[str, Tensor], batches: Sequence[Batch],
    objective: Objective,
) -> Outcome:  # fmt: skip
    """Train detached copies of `weights`, one step per batch but the last, and return the weighted sum of gradients.

    Args:
        state: The rest of the network's state; its batch statistics are written to.
        batches: One per point of the way: `inner_steps + 1` of them, or one where there is no lookahead.
    """
    # clone: steps work in place, and a prediction may share memory with its base.
    leaves = {name: weight.detach().clone().requires_grad_() for name, weight in weights.items()}
    optimizer = _optimizer(objective, list(leaves.values()))
    gradient = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    losses = []
    right = torch.zeros(())
    for index, (images, labels) in enumerate(batches):
        logits = functional_call(network, {**state, **leaves}, (images,)).float()
        scores, answers = logits.flatten(0, -2), labels.flatten()  # of a text, every token is one
        loss = nn.functional.cross_entropy(scores, answers, label_smoothing=objective.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.detach())
        if index == 0:
            right = (logits.argmax(-1) == labels)[labels >= 0].float().mean()  # negative labels are ignored
        _add(gradient, leaves, _share(index, len(batches), objective))
        if index + 1 < len(batches):
            optimizer.step()
    accuracy, *reached = torch.stack((right, *losses)).tolist()  # one wait for the device, not one a point
    return Outcome(gradient, tuple(reached), accuracy)


def relative_residual(weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Tensor:
    """Return the mean over weight matrices of log(1 + |residual|² / |base|²), where residual = prediction − base.

    The logarithm keeps the slots whose base is tiny (a head drawn at 0.02, say) from outweighing all others.
    """
    distances = [
        (weight - state[name]).square().mean() / state[name].square().mean()
        for name, weight in weights.items()
        if weight.dim() > 1 and bool(state[name].any())
    ]
    return torch.stack(distances).log1p().mean()


def _share(index: int, count: int, objective: Objective) -> float:
    """Return the weight of the gradient at a point: `task` at the first, `lookahead` spread over the later half."""
    if index == 0:
        return objective.task
    later = range(max(1, count // 2), count)
    return objective.lookahead / len(later) if index in later else 0.0


def _add(gradient: dict[str, Tensor], leaves: Mapping[str, Tensor], share: float) -> None:
    met = [(gradient[name], leaf.grad) for name, leaf in leaves.items() if leaf.grad is not None]
    if share != 0.0 and met:
        add_to_all([kept for kept, _ in met], [new for _, new in met], alpha=share)


def _optimizer(objective: Objective, leaves: list[Tensor]) -> torch.optim.Optimizer:
    if objective.inner_optimizer == "sgd":
        return torch.optim.SGD(leaves, lr=objective.inner_lr, fused=True)
    return torch.optim.Adam(leaves, lr=objective.inner_lr, fused=True)
