"""Evaluate predicted weights: their accuracy without training, and ordinary training from them."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from training.data.images import Images
from training.losses import Batch, use_batch_statistics


@torch.no_grad()
def accuracy(network: nn.Module, state: Mapping[str, Tensor], batches: Sequence[Batch] | Iterator[Batch]) -> float:
    """Return the share of images, or of tokens, classified correctly, with batch statistics in batch norms."""
    use_batch_statistics(network)
    right = total = 0
    # Batch norms write to the buffers they are given: evaluate on copies.
    copies = {name: tensor.clone() for name, tensor in state.items()}
    device = next(iter(copies.values())).device
    for images, labels in batches:
        logits = functional_call(network, copies, (images.to(device),))
        right += int((logits.argmax(-1) == labels.to(device)).sum())
        total += int((labels >= 0).sum())  # negative labels are ignored
    return right / total


def fine_tune(
    network: nn.Module, state: Mapping[str, Tensor], images: Images, *, steps: int, lr: float, batch: int, seed: int
) -> dict[str, Tensor]:
    """Train with AdamW from `state` and return the state reached; the seed decides the order of the data."""
    use_batch_statistics(network)
    names = {name for name, _ in network.named_parameters()}
    copies = {name: tensor.detach().clone().requires_grad_(name in names) for name, tensor in state.items()}
    optimizer = torch.optim.AdamW([copies[name] for name in sorted(names)], lr=lr)
    generator = torch.Generator().manual_seed(seed)
    device = next(iter(copies.values())).device
    for _ in range(steps):
        pixels, labels = images.draw(batch, generator)
        logits = functional_call(network, copies, (pixels.to(device),))
        loss = nn.functional.cross_entropy(logits, labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {name: tensor.detach() for name, tensor in copies.items()}
