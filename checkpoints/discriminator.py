"""The patch discriminator of pix2pix: it scores every patch of an edited picture (Isola et al., 2017, §3.2.2)."""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

WIDTH: Final = 16


def discriminator(seed: int) -> nn.Module:
    """Return a new discriminator with a receptive field of 22 x 22 pixels; the global random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(6, WIDTH, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(WIDTH, WIDTH, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(WIDTH, 1, 4, padding=1),
        )


def least_squares_loss(scores: Float[Tensor, "..."], *, real: bool) -> Float[Tensor, ""]:
    """Return the least-squares loss of the scores, summed over networks (LSGAN, Mao et al., 2017, eq. 9)."""
    return ((scores - float(real)) ** 2).flatten(1).mean(1).sum()
