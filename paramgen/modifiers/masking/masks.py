"""Masks: which weights of a network are kept, chosen by their scores; and masks as bits."""

from collections.abc import Mapping
from math import prod
from typing import Final, Literal

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

Scores = Mapping[str, Float[Tensor, "*shape"]]
Masks = dict[str, Bool[Tensor, "*shape"]]
Scope = Literal["global", "layer", "erk"]

SCOPES: Final[tuple[Scope, ...]] = ("global", "layer", "erk")


def best_masks(scores: Scores, keep: float, *, scope: Scope = "global") -> Masks:
    """Return masks of the weights with the highest scores, exactly so many; equal ones are taken in their order.

    Args:
        scores: Of each weight, by slot.
        keep: The share of all weights that is kept, above 0 and at most 1.
        scope: `global`: the best of all; `layer`: the same share of every slot; `erk`: a larger share of the slots that
            have fewer weights for each row and column (Erdős-Rényi-kernel; Evci et al., 2020, arXiv:1911.11134, §3).

    """
    if scope == "global":
        chosen = _best(torch.cat([each.flatten() for each in scores.values()]), _count(scores, keep))
        parts = chosen.split([each.numel() for each in scores.values()])
        return {name: part.view(each.shape) for (name, each), part in zip(scores.items(), parts, strict=True)}
    densities = dict.fromkeys(scores, keep) if scope == "layer" else erk_densities(scores, keep)
    return {
        name: _best(each.flatten(), max(1, round(densities[name] * each.numel()))).view(each.shape)
        for name, each in scores.items()
    }


def sampled_scores(scores: Scores, generator: torch.Generator) -> Scores:
    """Return scores of which the highest are a sample without replacement, in proportion to the scores given.

    Gumbel noise is added to their logarithms (Efraimidis & Spirakis, 2006); what has no score above 0 comes last.
    """
    return {
        name: each.clamp(min=0).log() - (-torch.rand(each.shape, generator=generator, dtype=each.dtype).log()).log()
        for name, each in scores.items()
    }


def erk_densities(scores: Scores, keep: float) -> dict[str, float]:
    """Return the share of each slot that is kept: as (in + out + kernel) is to (in * out * kernel), and at most 1."""
    raw = {name: sum(each.shape) / prod(each.shape) for name, each in scores.items()}
    sizes = {name: each.numel() for name, each in scores.items()}
    wanted, full = keep * sum(sizes.values()), set[str]()
    while True:
        rest = [name for name in scores if name not in full]
        left = wanted - sum(sizes[name] for name in full)
        factor = left / sum(raw[name] * sizes[name] for name in rest) if rest else 0.0
        over = {name for name in rest if factor * raw[name] > 1}
        if not over:
            return {name: 1.0 if name in full else factor * raw[name] for name in scores}
        full |= over


def packed(mask: Bool[Tensor, "*shape"]) -> UInt8[Tensor, " bytes"]:
    """Return a mask as bits, eight in a byte, the first one the highest; zeros fill the last byte."""
    bits = torch.nn.functional.pad(mask.flatten().to(torch.uint8), (0, -mask.numel() % 8)).view(-1, 8)
    return (bits << _SHIFTS).sum(1, dtype=torch.uint8)


def unpacked(bits: UInt8[Tensor, " bytes"], shape: tuple[int, ...]) -> Bool[Tensor, "*shape"]:
    """Return the mask of `shape` that was packed."""
    return (bits[:, None] >> _SHIFTS & 1).flatten()[: prod(shape)].bool().view(shape)


_SHIFTS: Final = torch.arange(7, -1, -1, dtype=torch.uint8)


def _count(scores: Scores, keep: float) -> int:
    return max(1, round(keep * sum(each.numel() for each in scores.values())))


def _best(scores: Float[Tensor, " weights"], count: int) -> Bool[Tensor, " weights"]:
    """Return where the `count` highest scores are."""
    if count >= scores.numel():
        return torch.ones_like(scores, dtype=torch.bool)
    threshold = scores.kthvalue(scores.numel() - count + 1).values
    chosen = scores > threshold
    equal = (scores == threshold).nonzero().flatten()[: count - int(chosen.sum())]
    chosen[equal] = True
    return chosen
