"""The patch discriminator: it sees a picture beside its edit, and judges every patch (Isola et al., 2017, §3.2.2)."""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

WIDTH: Final = 16


def critic(seed: int) -> nn.Module:
    """Return a discriminator whose outputs see 22 x 22 pixels; global random numbers stay as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(6, WIDTH, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(WIDTH, WIDTH, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(WIDTH, 1, 4, padding=1),
        )


def judged(scores: Float[Tensor, "..."], *, real: bool) -> Float[Tensor, ""]:
    """Return how far the scores are from what they should be (least squares, Mao et al., 2017, eq. 9), summed."""
    return ((scores - float(real)) ** 2).flatten(1).mean(1).sum()
