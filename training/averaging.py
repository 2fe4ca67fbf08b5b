"""The moving average of a model's weights, which is what is kept of a run."""

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average of a model, whose decay grows to `decay` in the first updates."""

    def update(average: Tensors, current: Tensors, count: Tensor | int) -> None:
        updates = int(count)
        get_ema_multi_avg_fn(min(decay, updates / (9 + updates)))(average, current, count)

    averaged = AveragedModel(model, multi_avg_fn=update)
    averaged.n_averaged.fill_(1)  # the initial weights count: with 0 the first update would overwrite them
    return averaged.requires_grad_(False).eval()
