"""The loss of each example: cross-entropy where it should tell classes or tokens, the mean squared error of numbers."""

from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss


def losses_of(scores: Tensor, targets: Tensor) -> Tensor:
    """Return a loss for each row of scores: int64 targets are classes, or with two dimensions the next tokens."""
    scores = scores if scores.dtype.itemsize > 4 else scores.float()
    if targets.is_floating_point():
        return (
            mse_loss(scores, targets.to(scores.dtype), reduction="none").flatten(1).mean(1)
            if scores.dim() > 1
            else (mse_loss(scores, targets.to(scores.dtype), reduction="none"))
        )
    if targets.dim() == 2:
        found = cross_entropy(scores[:, :-1].flatten(0, 1), targets.flatten(), reduction="none")
        return found.view(targets.shape).mean(1)
    return cross_entropy(scores, targets, reduction="none")
